"""Values of the schedules at steps that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.errors import ConfigError
from aqr_train.schedule import apply_schedule, build_schedule
from aqr_train.settings import OptimizerSettings


def test_cyclic_follows_the_formula_of_mmcv() -> None:
    schedule = build_schedule({"type": "cyclic", "target_ratio": (6, 1e-4)}, 100)
    assert schedule.lr_factor(0) == 1
    assert schedule.lr_factor(20) == pytest.approx(3.5)  # half-way up: (1 + 6) / 2
    assert schedule.lr_factor(40) == pytest.approx(6)
    assert schedule.lr_factor(70) == pytest.approx((6 + 1e-4) / 2)
    assert schedule.lr_factor(100) == pytest.approx(1e-4)
    assert schedule.beta1_factor(0) == 1
    assert schedule.beta1_factor(40) == pytest.approx(0.85 / 0.95)
    assert schedule.beta1_factor(100) == pytest.approx(1)


def test_cosine_warms_up_then_falls() -> None:
    schedule = build_schedule({"type": "cosine", "warmup_steps": 3, "min_ratio": 0.1}, 13)
    assert [schedule.lr_factor(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert schedule.lr_factor(8) == pytest.approx(0.55)  # half of the way from 1 to 0.1
    assert schedule.lr_factor(13) == pytest.approx(0.1)


def test_constant_warms_up_and_stays() -> None:
    schedule = build_schedule({"type": "constant", "warmup_steps": 3}, 10)
    assert [schedule.lr_factor(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert (schedule.lr_factor(9), schedule.beta1_factor(9), schedule.milestones()) == (1, 1, (0, 3, 9))
    assert build_schedule({"type": "constant"}, 10).lr_factor(0) == 1


@pytest.mark.parametrize("total", [1, 7, 10, 3517 * 20])
def test_cyclic_is_the_formula_at_every_step(total: int) -> None:
    """Written out as upstream computes it: base 1.4e-4, up = int(0.4 T), the last ratio relative to the base."""
    base, up = 1.4e-4, int(0.4 * total)

    def cosine(a: float, b: float, f: float) -> float:
        return b + 0.5 * (a - b) * (math.cos(math.pi * f) + 1)

    schedule = build_schedule({"type": "cyclic", "target_ratio": (3, 1e-4)}, total)
    for i in range(0, total, max(1, total // 997)):
        low, high, end = base, base * 3, base * 1e-4
        rate = cosine(low, high, i / up) if i < up else cosine(high, end, (i - up) / (total - up))
        beta = cosine(0.9, 0.805263, i / up) if i < up else cosine(0.805263, 0.9, (i - up) / (total - up))
        assert base * schedule.lr_factor(i) == pytest.approx(rate, rel=1e-12)
        assert 0.9 * schedule.beta1_factor(i) == pytest.approx(beta, rel=1e-6)


def test_the_rate_belongs_to_a_batch() -> None:
    assert OptimizerSettings(lr=1e-4).scaled_lr(64) == 1e-4
    assert OptimizerSettings(lr=1e-4, base_batch_size=16).scaled_lr(64) == pytest.approx(4e-4)
    assert OptimizerSettings(lr=1e-4, base_batch_size=16).scaled_lr(4) == pytest.approx(2.5e-5)
    with pytest.raises(ConfigError, match="optimizer.base_batch_size is 0"):
        OptimizerSettings(lr=1e-4, base_batch_size=0)


def test_a_run_scales_its_rate_with_the_samples_of_an_update(
    train: Callable[..., Path], scalars: Callable[[Path], list[dict[str, float]]]
) -> None:
    constant = ("--cfg-options", "schedule.type=constant", "schedule.warmup_steps=0", "train.max_steps=2")
    scaled = (*constant, "optimizer.base_batch_size=8")  # lr is 1e-2
    for name, options, rate in [
        ("as_told", (*constant, "train.accumulate=2"), 1e-2),
        ("two", scaled, 2.5e-3),
        ("four", (*scaled, "train.accumulate=2"), 5e-3),
        ("twelve", (*scaled, "train.accumulate=3", "data.batch_size=4"), 1.5e-2),
    ]:
        assert [record["lr"] for record in scalars(train(name, *options))] == pytest.approx([rate] * 2)


@given(total=st.integers(1, 500), kind=st.sampled_from(["cyclic", "cosine", "constant"]))
def test_factors_are_positive_and_bounded(total: int, kind: str) -> None:
    schedule = build_schedule({"type": kind}, total)
    for step in range(total):
        assert 0 < schedule.lr_factor(step) <= 6
        assert 0.89 < schedule.beta1_factor(step) <= 1
    assert all(0 <= step < total for step in schedule.milestones())


def test_apply_scales_each_group_from_its_own_rate() -> None:
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "base_lr": rate, "base_beta1": 0.9} for rate in (1.0, 0.1)
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = build_schedule({"type": "cyclic", "target_ratio": (6, 1e-4)}, 100)
    apply_schedule(schedule, optimizer.param_groups, 40)
    apply_schedule(schedule, optimizer.param_groups, 40)  # a pure function of the step
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([6.0, 0.6])
    assert optimizer.param_groups[0]["betas"] == (pytest.approx(0.9 * 0.85 / 0.95), 0.999)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "schedule.type is None"),
        ({"type": "cosin"}, "Did you mean 'cosine'"),
        ({"type": "cosine", "target_ratio": 1}, "cosine schedule does not take 'target_ratio'"),
        ({"type": "cosine", "min_ratio": 2}, "min_ratio is 2"),
        ({"type": "constant", "min_ratio": 0.5}, "constant schedule does not take 'min_ratio'"),
        ({"type": "constant", "warmup_steps": -1}, "warmup_steps is -1"),
        ({"type": "cyclic", "step_ratio_up": 1.0}, "step_ratio_up is 1.0"),
    ],
)
def test_wrong_schedules(config: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_schedule(config, 10)
