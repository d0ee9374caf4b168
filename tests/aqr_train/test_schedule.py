"""Values of the schedules at steps that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.errors import ConfigError
from aqr_train.schedule import apply_schedule, build_schedule


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


@given(total=st.integers(1, 500), kind=st.sampled_from(["cyclic", "cosine"]))
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
        ({"type": "cyclic", "step_ratio_up": 1.0}, "step_ratio_up is 1.0"),
    ],
)
def test_wrong_schedules(config: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_schedule(config, 10)
