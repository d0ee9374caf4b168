"""The trace of a few steps, and the cost of parts from its events."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from aqr_core.registry import MODELS
from aqr_core.structures import Batch
from aqr_train.callbacks import Callback
from aqr_train.callbacks.part_times import REST, UPDATE, WAIT, PartTime, measure_parts
from aqr_train.callbacks.profiler import Profiler, parts_of
from aqr_train.step import StepResult
from aqr_train.trainer import Trainer

Toy = Callable[..., Trainer]


@MODELS.register_module(force=True)
class RecomputingToy(nn.Module):
    """A stem under gradient checkpointing, whose recomputation ends early, by an exception, and a list of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 8))
        self.heads = nn.ModuleList([nn.Linear(8, 3), nn.Linear(8, 6)])

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        means = torch.stack([points.mean(0) for points in batch.points])
        features = checkpoint(self.stem, means, use_reentrant=False)
        target = torch.stack([gt.mean(0) for gt in batch.gt_boxes])
        boxes = torch.cat([head(features) for head in self.heads], 1)
        return {"loss": (boxes - target).abs().mean()}


def ranges(trainer: Trainer, name: str = "steps_2-4") -> Counter[str]:
    with gzip.open(trainer.work_dir / "profile" / f"{name}.json.gz") as file:
        return Counter(
            event["name"] for event in json.load(file)["traceEvents"] if event.get("cat") == "user_annotation"
        )


def test_three_steps_are_traced_part_by_part(
    toy_trainer: Toy, scalars: Callable[[Path], list[dict[str, float]]], caplog: pytest.LogCaptureFixture
) -> None:
    plain, profiled = toy_trainer("plain", []), toy_trainer("profiled", [Profiler()])
    plain.fit()
    with caplog.at_level(logging.INFO):
        profiled.fit()
    found = ranges(profiled)
    names = ("forward", "backward", "update", "part: stem", "part: stem.0", "part: pts_bbox_head.1")
    assert {name: found[name] for name in names} == dict.fromkeys(names, 3)
    table = (profiled.work_dir / "profile" / "steps_2-4.txt").read_text()
    assert table.startswith("Profile of 3 steps") and "pts_bbox_head.1" in table
    assert "Profile of 3 steps" in caplog.text and "part      " in caplog.text
    # Nothing is left behind, and the numbers are those of a run without.
    assert not vars(profiled.engine).keys() & {"run", "update"}
    for module in profiled.plain_model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert scalars(profiled.work_dir) == scalars(plain.work_dir)


class Looker(Callback):
    """Runs the model after every step, as pictures and validation do."""

    @torch.no_grad()
    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        trainer.plain_model.eval()(trainer.batch)
        trainer.train_mode()


def test_every_micro_batch_has_its_ranges_and_looking_at_the_model_none(toy_trainer: Toy) -> None:
    trainer = toy_trainer("run", [Looker(), Profiler()], "train.accumulate=2", "train.max_steps=5")
    trainer.fit()
    found = ranges(trainer)
    assert (found["forward"], found["backward"], found["update"], found["part: stem"]) == (6, 6, 3, 6)


def test_recomputed_parts_close_their_ranges(toy_trainer: Toy) -> None:
    trainer = toy_trainer("run", [Profiler(warmup=1, steps=1)], "model.type=RecomputingToy", "train.max_steps=2")
    trainer.fit()
    found = ranges(trainer, "steps_2-2")
    assert (found["part: stem"], found["part: heads.0"], found["part: heads.1"], found["forward"]) == (2, 1, 1, 1)
    rows = (trainer.work_dir / "profile" / "steps_2-2.txt").read_text().splitlines()[2:]
    (stem,) = [row.split() for row in rows if row.startswith("stem.0 ")]
    assert float(stem[1]) > 0 and float(stem[2]) > 0


def test_a_short_run_is_recorded_as_far_as_it_goes(toy_trainer: Toy, caplog: pytest.LogCaptureFixture) -> None:
    toy_trainer("run", [Profiler()], "train.max_steps=3").fit()
    trainer = toy_trainer("shorter", [Profiler()], "train.max_steps=1")
    assert ranges(toy_trainer("run", []), "steps_2-3")["update"] == 2
    trainer.fit()
    assert not (trainer.work_dir / "profile").exists()
    assert "The run ended after 1 steps of this process, before its profile was whole." in caplog.text


def test_parts_go_down_to_a_depth_and_members_of_lists_stand_for_them() -> None:
    assert [name for name, _ in parts_of(RecomputingToy(), 1)] == ["stem", "heads.0", "heads.1"]
    assert [name for name, _ in parts_of(RecomputingToy(), 2)][:4] == ["stem", "stem.0", "stem.1", "stem.2"]


def event(
    number: int,
    name: str,
    own_us: float,
    parent: SimpleNamespace | None = None,
    sequence: int = -1,
    kernels_us: tuple[float, ...] = (),
) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        self_cpu_time_total=own_us,
        kernels=[SimpleNamespace(duration=us) for us in kernels_us],
        cpu_parent=parent,
        sequence_nr=sequence,
        thread=1,
        fwd_thread=1,
        is_async=False,
        device_type=SimpleNamespace(name="CPU"),
        time_range=SimpleNamespace(start=number),
    )


def test_a_part_owns_its_operators_forward_and_backward() -> None:
    """Two steps of 10 ms: times halve, 0.6 ms of a step waits, and what nobody owns is the rest."""
    forward = event(1, "forward", 900)
    outer = event(2, "part: neck", 200, forward)
    inner = event(3, "part: neck.conv", 0, outer)
    early = event(4, "aten::ones", 800, outer, sequence=7)  # without gradient: carries the number of the next node
    made = event(5, "aten::convolution", 2000, inner, sequence=7)
    backward = event(6, "backward", 400)
    node = event(7, "autograd::engine::evaluate_function: ConvolutionBackward0", 600, backward, sequence=7)
    kernel = event(8, "aten::convolution_backward", 3400, node, sequence=8)
    update = event(9, "update", 100)
    other = event(10, "aten::item", 5000)
    table = measure_parts(
        [forward, outer, inner, early, made, backward, node, kernel, update, other], 2, took_s=0.02, waited_s=0.0012
    )
    assert table.parts == (
        PartTime(REST, pytest.approx(10 - 0.6 - 4.2), 0.0),
        PartTime("neck.conv", 1.0, 2.0),
        PartTime(WAIT, pytest.approx(0.6), 0.0),
        PartTime("neck", 0.5, 0.0),
        PartTime("(forward, no part)", pytest.approx(0.45), 0.0),
        PartTime("(backward, no part)", 0.0, pytest.approx(0.2)),
        PartTime(UPDATE, pytest.approx(0.05), 0.0),
    )
    assert table.lines(2)[0].startswith("Profile of 2 steps, 10.0 ms each; CPU ms")
    assert table.lines(2)[3] == "neck.conv            1.00      2.00  30.0 %"


def test_on_a_gpu_kernels_count_and_what_is_left_is_an_idle_gpu() -> None:
    """One step of 10 ms; the host's own times say nothing."""
    forward = event(1, "forward", 5000, kernels_us=(7000.0,))  # the range's shadow on the GPU
    part = event(2, "part: neck", 4000, forward)
    made = event(3, "aten::linear", 3000, part, sequence=1, kernels_us=(1000.0, 500.0))
    node = event(4, "autograd::engine::evaluate_function: AddmmBackward0", 2000, sequence=1, kernels_us=(2500.0,))
    table = measure_parts([forward, part, made, node], 1, took_s=0.01, waited_s=0.0)
    assert table.on_gpu and "GPU ms" in table.lines()[0]
    assert table.parts == (PartTime(REST, 6.0, 0.0), PartTime("neck", 1.5, 2.5))
