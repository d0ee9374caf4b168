"""One update: what is skipped in fp16, what stops, and that a stopped step changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from aqr_core.data import collate
from aqr_core.errors import NonFiniteError
from aqr_core.structures import Batch
from aqr_train.callbacks.skips import SkippedUpdates
from aqr_train.engines.plain import PlainEngine
from aqr_train.precision import LossScale
from aqr_train.settings import TrainSettings
from aqr_train.step import TrainStep

from .conftest import ToyDataset, ToyDetector


class Steep(ToyDetector):
    """The toy with a loss whose gradient is `slope` times as large."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        losses = super().forward(batch)
        return {**losses, "loss": self.slope * losses["loss"]}


def train_step(model: nn.Module, folder: Path, **settings: object) -> TrainStep:
    torch.manual_seed(0)
    engine = PlainEngine(
        Accelerator(cpu=True),
        model,
        lambda plain: torch.optim.AdamW(plain.parameters(), lr=1e-2),
        TrainSettings(max_steps=1, **settings),  # type: ignore[arg-type]
    )
    return TrainStep(engine, nonfinite_dir=folder)


def batches(count: int = 1) -> list[Batch]:
    data = ToyDataset(2 * count)
    return [collate([data[2 * i], data[2 * i + 1]]) for i in range(count)]


def test_an_overflowing_update_is_skipped_and_halves_the_scale(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    step = train_step(Steep(100.0), tmp_path, precision="fp16")
    scale, model = step.engine.loss_scale, step.engine.plain_model
    assert scale is not None
    before = [parameter.clone() for parameter in model.parameters()]
    results = []
    while not results or results[-1].skipped:
        same = [bool((a == b).all()) for a, b in zip(model.parameters(), before, strict=True)]
        assert all(same), "a skipped update changes no weight"
        results.append(step(batches(), len(results) + 1))
    skipped = len(results) - 1
    assert skipped >= 2 and scale.value == 2.0 ** (16 - skipped)
    assert (scale.skipped, scale.total_skipped) == (0, skipped)
    assert not all((a == b).all() for a, b in zip(model.parameters(), before, strict=True))
    assert results[-1].grad_norm > 0
    assert "Step 1: the gradient overflowed in fp16, no update; the loss scale is now 32768." in caplog.text


def test_skips_in_a_row_are_an_error(tmp_path: Path) -> None:
    step = train_step(Steep(1e9), tmp_path, precision="fp16", max_skipped=3)
    assert step(batches(), 1).skipped and step(batches(), 2).skipped
    with pytest.raises(NonFiniteError) as error:
        step(batches(), 3)
    message = str(error.value)
    assert "Step 3 was stopped before its update: the fp16 gradient overflowed 3 times in a row" in message
    assert "at last with loss scale 16384 for samples token0, token1" in message
    assert "the first value that is not finite is the" in message and "pts_bbox_head.1 (Linear)" in message
    assert "train.precision=bf16" in message and (tmp_path / "step_3_rank_0.pt").is_file()


def test_an_activation_beyond_fp16_stops_at_its_module(tmp_path: Path) -> None:
    model = ToyDetector()
    with torch.no_grad():
        model.pts_bbox_head[1].bias.fill_(1e5)  # the largest half is 65504
    step = train_step(model, tmp_path, precision="fp16")
    with pytest.raises(NonFiniteError, match=r"loss_center is inf, .* is the output of pts_bbox_head.1 \(Linear\);"):
        step(batches(), 1)
    train_step(model, tmp_path, precision="bf16")(batches(), 1)  # which reaches as far as float32


@pytest.mark.parametrize("pattern", ["++++++++", "--+++++-+++++++", "+++-++-+++++++"])
def test_the_loss_scale_is_that_of_torch(pattern: str) -> None:
    ours, theirs = LossScale(growth_interval=3), torch.amp.GradScaler("cpu", growth_interval=3)
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    for sign in pattern:
        assert theirs.scale(torch.ones(1)).item() == ours.value
        parameter.grad = torch.full((1,), 1.0 if sign == "+" else float("inf"))
        theirs.step(optimizer)
        theirs.update()
        ours.update(sign == "+")
    assert theirs.get_scale() == ours.value
    assert ours.total_skipped == pattern.count("-")


def test_a_bad_loss_in_the_second_micro_batch_stops_the_whole_update(tmp_path: Path) -> None:
    model = ToyDetector(nan_at="token2")
    step = train_step(model, tmp_path, accumulate=2)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(NonFiniteError, match="loss_center is nan for samples token2, token3; .* of ToyDetector;"):
        step(batches(2), 1)
    assert all((a == b).all() for a, b in zip(model.parameters(), before, strict=True))


def test_the_end_of_a_run_tells_how_many_updates_were_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    step = train_step(Steep(1e9), tmp_path, precision="fp16", max_skipped=3)
    step(batches(), 1)
    step(batches(), 2)
    resumed = train_step(Steep(1e9), tmp_path, precision="fp16", max_skipped=3)
    resumed.engine.load_state_dict(step.engine.state_dict())
    with pytest.raises(NonFiniteError, match="overflowed 3 times in a row"):  # also across a resume
        resumed(batches(), 3)
    trainer = SimpleNamespace(engine=step.engine, state=SimpleNamespace(step=10))
    SkippedUpdates().on_fit_end(trainer)  # type: ignore[arg-type]
    assert "fp16: 2 of 10 updates were skipped, the loss scale is 16384." in caplog.text


# The same updates with and without a loss scale, and one that overflows.
CHILD = """
import importlib.util, sys

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)

import torch
from aqr_core.data import collate
from aqr_train.engines import build_engine
from aqr_train.precision import LossScale
from aqr_train.processes import start_accelerator
from aqr_train.settings import TrainSettings

settings = TrainSettings(max_steps=1, accumulate=2, grad_clip=0.1)
accelerator = start_accelerator(settings)
data = toy.ToyDataset(12)


def weights(scale, updates):
    torch.manual_seed(0)
    make = lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2)
    engine = build_engine("zero", accelerator, toy.ToyDetector(), make, settings, 2)
    engine.loss_scale = scale
    results = []
    for first in range(0, 4 * updates, 4):
        for half in (0, 2):
            batch = collate([data[first + half], data[first + half + 1]])
            engine.run(batch, last=half == 2)
        results.append(engine.update())
    return results, {name: value.clone() for name, value in engine.whole_parameters()}


plain, expected = weights(None, 3)
scaled, found = weights(LossScale(value=2.0**10), 3)
assert [update.grad_norm for update in plain] == [update.grad_norm for update in scaled], (plain, scaled)
assert all((expected[name] == found[name]).all() for name in expected)
_, before = weights(None, 0)
scale = LossScale(value=2.0**200)  # beyond float32
(update,), found = weights(scale, 1)
assert not update.applied and scale.value == 2.0**199 and scale.skipped == 1
assert all((before[name] == found[name]).all() for name in before)
assert not all((before[name] == expected[name]).all() for name in before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_loss_scale_changes_no_update_of_deepspeed(tmp_path: Path, stage: int) -> None:
    pytest.importorskip("deepspeed")
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", str(script)]
    environment = {**os.environ, "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(stage)}
    command.append(str(Path(__file__).with_name("conftest.py")))
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
