"""Where a value that is not finite comes from, in one process and in two, and the batch that is left on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from aqr_core.data import collate
from aqr_core.errors import DataError, NonFiniteError
from aqr_core.structures import Batch
from aqr_train.engines.plain import PlainEngine
from aqr_train.first_nonfinite import FirstNonFinite
from aqr_train.nonfinite import MicroBatch
from aqr_train.saved_batch import load_saved_batch, save_batch
from aqr_train.settings import TrainSettings
from aqr_train.step import TrainStep

from .conftest import ToyDataset, ToyDetector


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def watched(model: nn.Module, *inputs: Tensor) -> FirstNonFinite:
    with FirstNonFinite(model) as first:
        model(*inputs).sum().backward()
    return first


def test_a_healthy_pass_has_no_source_and_leaves_no_hook() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    first = watched(model, torch.ones(4, 2))
    assert first.in_forward is None and first.in_backward is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_innermost_module_that_makes_it_is_named_not_those_it_reaches() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(Apply(lambda x: x * float("inf")), nn.ReLU()), nn.Linear(3, 1))
    assert watched(model, torch.ones(4, 2)).in_forward == "the output of 1.0 (Apply)"


def test_a_module_that_works_in_place_is_judged_by_what_it_was_given() -> None:
    model = nn.Sequential(nn.Linear(2, 3), Apply(lambda x: x.mul_(float("inf"))), nn.Linear(3, 1))
    assert watched(model, torch.ones(4, 2)).in_forward == "the output of 1 (Apply)"


def test_the_backward_pass_is_followed_from_its_end() -> None:
    # The slope of the root is infinite at zero, its value is not; the layers before it only pass NaN on.
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), Apply(lambda x: (0 * x).sqrt()), nn.Linear(3, 1))
    first = watched(model, torch.ones(4, 2))
    assert first.in_forward is None
    assert first.in_backward == "the gradient of the input of 2 (Apply)"


def test_an_operation_between_modules_is_named_by_the_module_before() -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second((0 * self.first(x)).sqrt())

    assert watched(Between(), torch.ones(4, 2)).in_backward == "the backward pass of what follows first (Linear)"


def test_a_gradient_of_a_weight_alone_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    with FirstNonFinite(model) as first:  # each sample's part is finite, their sum is not
        model(torch.full((4, 2), 3e38)).sum().mul(0.5).backward()
    assert first.in_backward == "the gradient of weight of 0 (Linear)"


def test_gradients_inside_recomputed_parts_are_seen() -> None:
    from torch.utils.checkpoint import checkpoint

    inner = nn.Sequential(nn.Linear(2, 3), Apply(lambda x: (0 * x).sqrt()), nn.Linear(3, 1))

    class Recomputing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, x, use_reentrant=False)

    first = watched(Recomputing(), torch.ones(4, 2))
    assert first.in_forward is None and first.in_backward == "the gradient of the input of inner.1 (Apply)"


def engine_of(model: nn.Module) -> PlainEngine:
    settings = TrainSettings(max_steps=1)
    return PlainEngine(Accelerator(cpu=True), model, lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2), settings)


def toy_batch() -> Batch:
    data = ToyDataset(2)
    return collate([data[0], data[1]])


def stopped(model: nn.Module, batch: Batch, folder: Path) -> str:
    with pytest.raises(NonFiniteError) as error:
        TrainStep(engine_of(model), nonfinite_dir=folder)([batch], 7)
    return str(error.value)


def test_the_second_pass_draws_the_same_dropout_and_the_batch_is_left_on_disk(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ToyDetector()
    # Infinite only where the mask has a zero in the first number of a batch: about one pass in twenty.
    model.pts_bbox_head = nn.Sequential(nn.Dropout(0.05), Apply(lambda x: x), nn.Linear(8, 9))
    model.pts_bbox_head[1].function = lambda x: x / (model.pts_bbox_head[0](torch.ones(1)) != 0)
    step, batch = TrainStep(engine_of(model), nonfinite_dir=tmp_path), toy_batch()
    with pytest.raises(NonFiniteError, match=r"is the output of pts_bbox_head.1 \(Apply\)"):
        for number in range(1, 400):
            step([batch], number)
    assert number > 1
    (path,) = tmp_path.iterdir()
    assert path.name == f"step_{number}_rank_0.pt"
    again = load_saved_batch(path)
    assert again.tokens == batch.tokens and (again.points[1] == batch.points[1]).all()
    record = torch.load(path, weights_only=True)
    torch.set_rng_state(record["random"][0])
    assert not model(again)["loss"].isfinite()  # by hand, with the weights of that step


def test_a_bad_input_is_named_with_its_sample(tmp_path: Path) -> None:
    batch = toy_batch()
    batch.points[1][3, 2] = float("nan")
    message = stopped(ToyDetector(), batch, tmp_path)
    assert "the input is not finite, points of sample token1;" in message and "mend these samples" in message


def test_unknown_velocities_are_no_bad_input() -> None:
    batch = toy_batch()
    batch.gt_boxes[0][:, 7:] = float("nan")
    assert MicroBatch(batch, {}, []).bad_inputs == []
    assert MicroBatch(replace(batch, gt_boxes=[torch.full((1, 9), float("nan"))] * 2), {}, []).bad_inputs == [
        "gt_boxes of sample token0",
        "gt_boxes of sample token1",
    ]


def test_a_weight_that_was_bad_before_the_step_is_named(tmp_path: Path) -> None:
    model = ToyDetector()
    with torch.no_grad():
        model.stem[0].weight[0, 0] = float("nan")
    message = stopped(model, toy_batch(), tmp_path)
    assert "weights were not finite before this step, stem.0.weight;" in message and "an earlier checkpoint" in message


def test_a_full_disk_does_not_hide_what_was_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.write_text("where the folder should be")
    message = stopped(ToyDetector(nan_at="token0"), toy_batch(), file)
    assert "loss_center is nan" in message and "the batch could not be saved" in message
    assert "could not be saved in" in caplog.text


def test_what_is_no_saved_batch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no archive")
    torch.save({"format": "other"}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(DataError, match=f"{name} is not a saved batch"):
            load_saved_batch(tmp_path / name)
    save_batch(tmp_path / "batch.pt", toy_batch(), {"step": 1})
    assert load_saved_batch(tmp_path / "batch.pt").seeds == [0, 1]


# The toy with a root of something negative (its value is NaN) or of zero (its slope is infinite) for one sample.
CHILD = """
import importlib.util, sys

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)

from torch import nn
from aqr_core.registry import MODELS


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


@MODELS.register_module()
class RootToy(toy.ToyDetector):
    def __init__(self, at):
        super().__init__()
        self.root, self.at = Root(), at

    def forward(self, batch):
        losses = super().forward(batch)
        x = self.pts_bbox_head[1].weight.sum() ** 2 + 1
        losses["loss_root"] = self.root(self.at * x if "token4" in batch.tokens else x)
        return {**losses, "loss": losses["loss"] + losses["loss_root"]}


sys.exit(toy.main(["train", *sys.argv[2:]]))
"""
DDP = {"ACCELERATE_USE_CPU": "true"}
ZERO3 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
FSDP2 = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_USE_FSDP": "true"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launched", "at", "said"),
    [
        (DDP, -1, "loss_root is nan for samples token4, token6; the first value that is not finite is the output of"),
        (DDP, 0, "first in pts_bbox_head.1.weight for samples token4, token6; .* is the gradient of the input of"),
        (ZERO3, -1, "loss_root is nan for samples token4, token6; the first value that is not finite is the output of"),
        (ZERO3, 0, "the gradient norm is nan for samples token4, token6; .* is the gradient of the input of"),
        (FSDP2, -1, "loss_root is nan for samples token4, token6; the first value that is not finite is the output of"),
        (FSDP2, 0, "first in pts_bbox_head.1.weight for samples token4, token6; .* is the gradient of the input of"),
    ],
    ids=["ddp-loss", "ddp-gradient", "zero3-loss", "zero3-gradient", "fsdp2-loss", "fsdp2-gradient"],
)
def test_two_processes_stop_together_and_tell_the_same(
    toy_config: Path, tmp_path: Path, launched: dict[str, str], at: int, said: str
) -> None:
    """Only the second process has the bad sample, in its second step."""
    if launched is ZERO3:
        pytest.importorskip("deepspeed")
    script, folder = tmp_path / "child.py", tmp_path / "run"
    script.write_text(CHILD)
    toy_config.write_text(toy_config.read_text().replace('type="ToyDetector"', f'type="RootToy", at={at}'))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command += [str(Path(__file__).with_name("conftest.py")), str(toy_config), "--work-dir", str(folder)]
    environment = {**os.environ, **launched, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: Step 2 was stopped before")]
    assert done.returncode == 1 and len(errors) == 2, done.stderr
    assert errors[0] == errors[1]
    assert re.search(rf"{said} root \(Root\);", errors[0])
    assert [path.name for path in (folder / "nonfinite").iterdir()] == ["step_2_rank_1.pt"]
    assert load_saved_batch(folder / "nonfinite" / "step_2_rank_1.pt").tokens == ["token4", "token6"]
