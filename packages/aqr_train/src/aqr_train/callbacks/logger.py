"""Scalars into `log.txt`, `scalars.jsonl` and TensorBoard."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray

from aqr_core.checkpoint import write_text
from aqr_train.callbacks.base import Callback, Scalars

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class ScalarLogger(Callback):
    """Means over the steps since the last line, over all processes; written by the main process.

    `scalars.jsonl` holds one object per record: `step`, `epoch` (passes completed) and the scalars. Lines of
    steps after the one a run resumes from are removed first, so the file reads as one uninterrupted run.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._samples = 0
        self._wait_s = 0.0
        self._since = time.perf_counter()
        self._file: TextIO | None = None
        self._board: SummaryWriter | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the files."""
        self._since = time.perf_counter()
        if not trainer.is_main:
            return
        # TensorBoard takes a second to import, which a dry run or a worker need not pay.
        from torch.utils.tensorboard import SummaryWriter

        path = trainer.work_dir / "scalars.jsonl"
        _keep_until(path, trainer.state.step)
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(trainer.work_dir / "tensorboard"), purge_step=trainer.state.step + 1)

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Add the step to the current means; write them when due."""
        values = torch.stack([loss.float() for loss in result.losses.values()]).tolist()  # one wait for the device
        for name, value in zip(result.losses, values, strict=True):
            self._sums[f"train/{name}"] = self._sums.get(f"train/{name}", 0.0) + value
        if result.skipped:
            self._sums["train/skipped"] = self._sums.get("train/skipped", 0.0) + 1.0
        else:
            self._sums["train/grad_norm"] = self._sums.get("train/grad_norm", 0.0) + result.grad_norm
        self._steps += 1
        self._samples += result.samples
        self._wait_s += trainer.data_wait_s
        if trainer.is_due(trainer.settings.log_every):
            self._write_means(trainer)

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Write one record."""
        if self._file is None or self._board is None:
            return
        record = {"step": trainer.state.step, "epoch": trainer.state.epoch, **scalars}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, trainer.state.step)

    def on_picture(self, trainer: Trainer, name: str, pixels: NDArray[np.uint8]) -> None:
        """Hand the picture to TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, pixels, trainer.state.step, dataformats="HWC")

    def on_close(self, trainer: Trainer) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        self._file = self._board = None

    def state_dict(self) -> dict[str, Any]:
        """The unfinished means of this process; the main one's are stored."""
        return {"sums": dict(self._sums), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the stored means."""
        self._sums, self._steps = dict(state.get("sums", {})), state.get("steps", 0)

    def _write_means(self, trainer: Trainer) -> None:
        elapsed_s = max(time.perf_counter() - self._since, 1e-9)
        parts: list[dict[str, float]] = gather_object([self._sums])
        names = dict.fromkeys(name for part in parts for name in part)
        scalars = {name: sum(part.get(name, 0.0) for part in parts) / (len(parts) * self._steps) for name in names}
        reference_lr = trainer.schedule.lr_factor(trainer.state.step - 1)
        scalars["lr"] = reference_lr * max(g["base_lr"] for g in trainer.optimizer.param_groups)
        scalars["time/samples_per_s"] = self._samples / elapsed_s
        scalars["time/data_share"] = self._wait_s / elapsed_s
        if torch.cuda.is_available():
            scalars["memory/peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        trainer.record(scalars)
        logger.info(
            "step %d/%d  epoch %d  loss %.4f  lr %.3e  gradient %.3f  %.2f samples/s  waiting for data %.0f %%",
            trainer.state.step,
            trainer.schedule.total_steps,
            trainer.state.epoch,
            scalars.get("train/loss", float("nan")),
            scalars["lr"],
            scalars.get("train/grad_norm", float("nan")),
            scalars["time/samples_per_s"],
            100 * scalars["time/data_share"],
        )
        self._sums, self._steps, self._samples, self._wait_s = {}, 0, 0, 0.0
        self._since = time.perf_counter()


def _keep_until(path: Path, step: int) -> None:
    """Drop records after `step`, and a last line that a killed process left incomplete."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if record["step"] <= step:
            kept.append(line)
    write_text(path, "".join(line + os.linesep for line in kept))
