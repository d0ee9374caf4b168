"""Scalars into `log.txt`, `scalars.jsonl` and TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from accelerate.utils import gather_object
from numpy.typing import NDArray

from aqr_core.checkpoint import write_text
from aqr_train.callbacks.base import Callback, Scalars
from aqr_train.callbacks.means import StepMeans
from aqr_train.callbacks.memory import peak_memory
from aqr_train.callbacks.progress import Pace

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class ScalarLogger(Callback):
    """Means over the steps since the last line and over all processes, written by the main process.

    A step is an update of the optimiser, whatever it accumulates. Scalars:

    - `train/loss`, `train/<term>` of the last decoder layer, `train/<term>/layer<i>` of the others;
    - `train/grad_norm`: before clipping, over the updates that were made;
    - `lr`: the largest rate; `lr/<pattern>`: of every parameter group, at the line's step;
    - `time/samples_per_s` of all processes and `time/data_share` of the time that went into waiting for a batch;
      validation, pictures and checkpoints do not count;
    - `memory/peak_gib` or `memory/rss_gib`: see `peak_memory`, of the process with most;
    - fp16: `fp16/loss_scale`, and `fp16/skipped`, updates left out since the last line.

    `scalars.jsonl` holds one object per record: `step`, `epoch` (passes completed) and the scalars; what is not
    finite is null. Lines of steps after the one a run resumes from are removed first, so the file reads as one
    uninterrupted run. A line of the log, where the part in brackets is of fp16 alone:

        step 50/1000  epoch 3  loss 1.2345  lr 1.000e-04  gradient 3.210  12.34 samples/s  waiting for data 3 %
        memory 1.23 GiB  [loss scale 65536, 2 skipped]  to go 0:12:03
    """

    def __init__(self) -> None:
        self._means = StepMeans()
        self._samples = 0
        self._step_s = 0.0
        self._wait_s = 0.0
        self._pace = Pace(0)
        self._file: TextIO | None = None
        self._board: SummaryWriter | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the files."""
        self._pace = Pace(trainer.state.step)
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
        self._means.add(result)
        self._samples += result.samples
        self._step_s += trainer.step_s
        self._wait_s += trainer.data_wait_s
        if trainer.is_due(trainer.settings.log_every):
            self._write_means(trainer)

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Write one record."""
        if self._file is None or self._board is None:
            return
        self._file.write(json_line(trainer.state.step, trainer.state.epoch, scalars) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(board_name(name), value, trainer.state.step)

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
        """The unfinished means of this process."""
        return self._means.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the stored means."""
        if state:
            self._means.load_state_dict(state)

    def _write_means(self, trainer: Trainer) -> None:
        scalars = self._means.gather()
        groups = trainer.engine.param_groups
        scalars["lr"] = max(group["lr"] for group in groups)
        scalars |= {f"lr/{group['name']}": group["lr"] for group in groups}
        scalars["time/samples_per_s"] = self._samples / self._step_s
        scalars["time/data_share"] = self._wait_s / self._step_s
        kind, gib = peak_memory(trainer.accelerator.device)
        scalars[f"memory/{kind}"] = max(gather_object([gib]))
        if trainer.engine.loss_scale is not None:
            scalars |= {"fp16/loss_scale": trainer.engine.loss_scale.value, "fp16/skipped": float(self._means.skipped)}
        trainer.record(scalars)
        step, total = trainer.state.step, trainer.schedule.total_steps
        logger.info(describe_line(scalars, step, total, trainer.state.epoch, self._pace.to_go(step, total)))
        self._means, self._samples, self._step_s, self._wait_s = StepMeans(), 0, 0.0, 0.0


def describe_line(scalars: Scalars, step: int, total: int, epoch: int, to_go: str) -> str:
    """The line of the log for means of `ScalarLogger`."""
    gradient = f"{scalars['train/grad_norm']:.3f}" if "train/grad_norm" in scalars else "none"
    memory = scalars.get("memory/peak_gib", scalars.get("memory/rss_gib", math.nan))
    parts = [
        f"step {step}/{total}  epoch {epoch}  loss {scalars['train/loss']:.4f}  lr {scalars['lr']:.3e}",
        f"gradient {gradient}  {scalars['time/samples_per_s']:.2f} samples/s",
        f"waiting for data {100 * scalars['time/data_share']:.0f} %  memory {memory:.2f} GiB",
    ]
    if "fp16/loss_scale" in scalars:
        parts.append(f"loss scale {scalars['fp16/loss_scale']:g}, {scalars['fp16/skipped']:g} skipped")
    return "  ".join([*parts, f"to go {to_go}"])


def json_line(step: int, epoch: int, scalars: Scalars) -> str:
    """One record of `scalars.jsonl`; JSON knows no NaN and no infinity, they become null."""
    values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
    return json.dumps({"step": step, "epoch": epoch, **values}, allow_nan=False)


def board_name(name: str) -> str:
    """The name in letters, digits and `_.-/`, as TensorBoard and trackers want it: `lr/img_backbone.*` loses `.*`."""
    return re.sub(r"[^\w./-]", "_", re.sub(r"[()]", "", name.removesuffix(".*")), flags=re.ASCII)


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
