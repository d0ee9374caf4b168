"""The clamp of the weight maps through the epochs of a real run, its resumption, and prediction from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, read_weights
from aqr_core.config import load_config
from aqr_core.models.aqr import MapShapes, QueryCells, WeightRenderer
from aqr_core.registry import MODELS, build
from aqr_core.structures import Batch
from aqr_train.cli import main

KEY = "pts_bbox_head.weight_renderer.clamp_max"
STEPS_PER_EPOCH, EPOCHS = 3, 5
BOUNDS = [2.5] * 3 + [2.0] * 6 + [1.5] * 6  # per step
SEEN: list[float] = []  # largest value of the maps in each training step of this process

CONFIG = """
model = dict(type="ToyWithMaps", renderer=dict(composition="sum", clamp_schedule=[(0, 2.5), (1, 2.0), (3, 1.5)]))
data = dict(train=dict(type="ToyDataset", length=6), batch_size=2, num_workers=0)
optimizer = dict(type="AdamW", lr=1e-2, weight_decay=0.01)
schedule = dict(type="cosine", warmup_steps=2)
train = dict(epochs=5, log_every=1, save_every=1, val_every=None, grad_clip=10.0, keep=0)
seed = 3
"""


def crowded_map(renderer: WeightRenderer, weight: torch.Tensor) -> torch.Tensor:
    """(1, 3, 3) map of nine queries in one cell, all of one weight."""
    cells = QueryCells(
        MapShapes((3, 3), None),
        torch.ones(1, 9, 2, dtype=torch.long),
        torch.ones(1, 9, dtype=torch.bool),
        torch.zeros(1, 9, 0, 2, dtype=torch.long),
        torch.zeros(1, 9, 0, dtype=torch.bool),
    )
    bev = renderer(weight.expand(1, 9, 2), cells).bev
    assert bev is not None
    return bev


@MODELS.register_module(force=True)
class ToyWithMaps(nn.Module):
    """The toy, with a loss that a weight map scales."""

    def __init__(self, renderer: dict[str, object]) -> None:
        super().__init__()
        self.toy = build(dict(type="ToyDetector"), MODELS)
        self.weight = nn.Parameter(torch.ones(1))
        self.pts_bbox_head = nn.Module()
        self.pts_bbox_head.weight_renderer = WeightRenderer(**renderer)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        maps = crowded_map(self.pts_bbox_head.weight_renderer, self.weight)  # type: ignore[arg-type]
        SEEN.append(float(maps.detach().max()))
        losses: dict[str, torch.Tensor] = self.toy(batch)
        return {name: value * maps.mean() for name, value in losses.items()}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[float]]:
    """`run(*options, resume=False)` trains in `tmp_path / "run"` and returns the largest map value of each step."""
    config = tmp_path / "clamped.py"
    config.write_text(CONFIG)

    def train(*options: str, resume: bool = False) -> list[float]:
        SEEN.clear()
        arguments = ["train", str(config), "--work-dir", str(tmp_path / "run"), *(["--resume"] if resume else [])]
        assert main([*arguments, *(["--cfg-options", *options] if options else [])]) == 0
        return list(SEEN)

    return train


def test_the_clamp_follows_its_schedule(run: Callable[..., list[float]], tmp_path: Path) -> None:
    assert run() == BOUNDS
    saved = [float(read_weights(tmp_path / f"run/checkpoints/step_{step:07d}")[KEY]) for step in range(1, 16)]
    assert saved == BOUNDS  # each checkpoint has the clamp that its weights were trained with


@pytest.mark.parametrize("stop", [2, 3, 4, 8, 9, 10])  # inside a pass, at a switch, behind one
def test_a_resumed_run_clamps_as_the_whole_one(
    run: Callable[..., list[float]],
    scalars: Callable[[Path], list[dict[str, float]]],
    tmp_path: Path,
    stop: int,
) -> None:
    run()
    whole = scalars(tmp_path / "run")
    (tmp_path / "run/checkpoints/latest").write_text(f"step_{stop:07d}\n")
    assert run(resume=True) == BOUNDS[stop:]
    assert scalars(tmp_path / "run") == whole and len(whole) == EPOCHS * STEPS_PER_EPOCH


def test_prediction_from_a_checkpoint_clamps_as_in_training(run: Callable[..., list[float]], tmp_path: Path) -> None:
    run()
    for step, bound in ((3, 2.5), (9, 2.0), (15, 1.5)):
        folder = tmp_path / f"run/checkpoints/step_{step:07d}"
        model = build(load_config(folder / "config.py")["model"], MODELS)
        load_weights(model, folder)
        assert float(crowded_map(model.pts_bbox_head.weight_renderer, torch.ones(1)).max()) == bound


def test_weights_of_another_run_start_at_the_first_clamp(run: Callable[..., list[float]], tmp_path: Path) -> None:
    run()
    (tmp_path / "run").rename(tmp_path / "before")
    last = tmp_path / "before/checkpoints/step_0000015"
    assert run(f"load_from={last}", "train.epochs=1") == [2.5] * STEPS_PER_EPOCH


def test_a_bad_schedule_ends_the_command_with_its_reason(
    run: Callable[..., list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.py"
    config.write_text(CONFIG.replace("(1, 2.0), (3, 1.5)", "(3, 2.0), (1, 1.5)"))
    assert main(["train", str(config), "--work-dir", str(tmp_path / "bad")]) == 2
    assert "whose epochs start at 0 and increase" in " ".join("".join(capsys.readouterr()).split())
