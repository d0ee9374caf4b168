"""A detector and a dataset small enough to train in a blink, registered under names of their own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from rich.console import Console
from torch import nn

from aqr_core.checkpoint import load_weights
from aqr_core.config import load_config
from aqr_core.errors import DataError
from aqr_core.registry import DATASETS, MODELS
from aqr_core.structures import Batch, Sample
from aqr_train.assembly import build_trainer
from aqr_train.callbacks import Callback
from aqr_train.checkpoints import read_trainer_state
from aqr_train.cli import main
from aqr_train.processes import start_accelerator
from aqr_train.settings import TrainSettings, read_section
from aqr_train.trainer import Trainer


@MODELS.register_module(force=True)
class ToyDetector(nn.Module):
    """Regresses the mean point of a sample; batch norm in the stem, dropout in the head."""

    def __init__(
        self, width: int = 8, dropout: float = 0.0, nan_at: str | None = None, bad_gradient: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.ReLU())
        self.pts_bbox_head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 9))
        self.nan_at = nan_at
        self.bad_gradient = bad_gradient

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        means = torch.stack([points.mean(0) for points in batch.points])
        boxes = self.pts_bbox_head(self.stem(means))
        target = torch.stack([gt.mean(0) for gt in batch.gt_boxes])
        losses = {
            "loss_center": (boxes[:, :3] - target[:, :3]).abs().mean(),
            "loss_rest": (boxes[:, 3:] - target[:, 3:]).abs().mean(),
        }
        if self.nan_at in batch.tokens:
            losses["loss_center"] = losses["loss_center"] * float("nan")
        if self.bad_gradient:  # sqrt is finite at 0, its slope is not
            losses["loss_rest"] = losses["loss_rest"] + (0 * self.pts_bbox_head[1].bias).sqrt().sum()
        return {**losses, "loss": losses["loss_center"] + losses["loss_rest"]}


@DATASETS.register_module(force=True)
class ToyDataset:
    """`length` samples whose content depends on (seed, epoch, index) alone."""

    def __init__(self, length: int = 12, seed: int = 0, test_mode: bool = False, broken: int = -1) -> None:
        self.length, self.seed, self.epoch, self.broken = length, seed, 0, broken
        self.classes = ("car",)

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise DataError(f"sample {index} is truncated; restore the file.")
        generator = torch.Generator().manual_seed(1000 * self.seed + 100 * self.epoch + index)
        return Sample(
            token=f"token{index}",
            points=torch.randn(20, 5, generator=generator),
            images=torch.zeros(1, 3, 4, 4),
            lidar2img=torch.eye(4, dtype=torch.float64)[None],
            gt_boxes=torch.randn(2, 9, generator=generator),
            gt_labels=torch.zeros(2, dtype=torch.int64),
            seed=index,
        )


CONFIG = """
model = dict(type="ToyDetector")
data = dict(train=dict(type="ToyDataset"), batch_size=2, num_workers=0)
optimizer = dict(type="AdamW", lr=1e-2, weight_decay=0.01)
schedule = dict(type="cosine", warmup_steps=2)
train = dict(max_steps=10, log_every=1, save_every=4, val_every=None, grad_clip=10.0)
seed = 3
"""


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps precision and processes in a singleton."""
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture
def toy_config(tmp_path: Path) -> Path:
    """A config file of the toy."""
    path = tmp_path / "toy.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def train(toy_config: Path, tmp_path: Path) -> Callable[..., Path]:
    """`train(name, *options)` runs the toy through the command line and returns its work dir."""

    def run(name: str, *options: str, expect: int = 0) -> Path:
        folder = tmp_path / name
        assert main(["train", str(toy_config), "--work-dir", str(folder), *options]) == expect
        return folder

    return run


@pytest.fixture
def scalars() -> Callable[[Path], list[dict[str, float]]]:
    """Reads the records of a run without what depends on the clock and the machine."""

    def read(work_dir: Path) -> list[dict[str, float]]:
        lines = (work_dir / "scalars.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if not k.startswith(("time/", "memory/"))} for line in lines]

    return read


@pytest.fixture
def toy_trainer(toy_config: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """`toy_trainer(name, callbacks, *options, checkpoint=None)`: with these callbacks behind the trainer's own."""

    def build(name: str, callbacks: Sequence[Callback], *options: str, checkpoint: Path | None = None) -> Trainer:
        config = load_config(toy_config, options)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        accelerator = start_accelerator(read_section(TrainSettings, config, "train"))
        trainer = build_trainer(config, accelerator, folder, Console(file=io.StringIO()))
        trainer.callbacks.extend(callbacks)
        if checkpoint is not None:
            load_weights(trainer.plain_model, checkpoint)
            trainer.resume(checkpoint, read_trainer_state(checkpoint))
        return trainer

    return build
