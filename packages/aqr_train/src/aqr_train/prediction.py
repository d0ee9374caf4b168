"""Detections of a whole dataset, on one process or several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from aqr_core.structures import Batch
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.submission import detections_to_global, write_submission
from aqr_train.loader import Collate, SampleSource, load_batches
from aqr_train.precision import autocast

Records = dict[str, list[dict[str, Any]]]  # sample token -> boxes of a results file, without the token
Progress = Callable[[int, int], None]  # samples done by this process, all of them


class PosedSource(SampleSource, Protocol):
    """A dataset that also knows where its keyframes are."""

    infos: Any
    dataroot: Any
    classes: tuple[str, ...]

    def info(self, index: int) -> Any:  # noqa: ANN401 - aqr_core.infos.Info
        """Record with `token`, `ego2global` and `lidar.lidar2ego`."""


def predict(
    model: nn.Module,
    dataset: PosedSource,
    collate: Collate,
    accelerator: Accelerator,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: str = "fp32",
    progress: Progress | None = None,
) -> Records:
    """Run `model.predict` over every sample once.

    Process r takes the samples r, r + W, r + 2 W, ..., so the shares may differ by one; the model must not
    wait for other processes while it predicts.

    Args:
        model: the plain module in eval mode, on the accelerator's device.
        dataset: in test mode.
        collate: samples -> batch.
        accelerator: processes and device.
        batch_size: samples per process and call.
        num_workers: loader processes per process.
        precision: 'fp32', 'bf16' or 'fp16'.
        progress: told after each batch.

    Returns:
        Records of all samples in the dataset's order, the same on every process.
    """
    indices = list(range(accelerator.process_index, len(dataset), accelerator.num_processes))
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    own: Records = {}
    label_of = np.array([DETECTION_CLASSES.index(name) for name in dataset.classes])
    with torch.inference_mode(), autocast(accelerator.device, precision):
        loader = load_batches(dataset, batches, collate, num_workers)
        for batch_indices, batch in zip(batches, loader, strict=True):
            own |= _records(model, dataset, label_of, batch_indices, batch.to(accelerator.device))
            if progress is not None:
                progress(len(own), len(indices))
    gathered: Records = {}
    for part in gather_object([own]):
        gathered |= part
    tokens = [dataset.info(index).token for index in range(len(dataset))]
    return {token: gathered[token] for token in tokens}


def predict_to_file(
    path: Path,
    model: nn.Module,
    dataset: PosedSource,
    collate: Collate,
    accelerator: Accelerator,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: str = "fp32",
    progress: Progress | None = None,
    without: str | None = None,
) -> Path:
    """`predict`, then the main process writes the results file; returns its path when it is there.

    Its `meta` counts the sensor that `without` names as not used: the dataset blanks it.
    """
    records = predict(
        model,
        dataset,
        collate,
        accelerator,
        batch_size=batch_size,
        num_workers=num_workers,
        precision=precision,
        progress=progress,
    )
    if accelerator.is_main_process:
        write_submission(path, records, sensors_used(model, without))
    accelerator.wait_for_everyone()
    return path


def sensors_used(model: nn.Module, without: str | None = None) -> dict[str, bool]:
    """The `meta` of a results file: which sensors the detector has a branch for, but for the one it went without."""
    branches = {name for name, _ in model.named_children()}
    return {
        "use_camera": "img_backbone" in branches and without != "camera",
        "use_lidar": "pts_middle_encoder" in branches and without != "lidar",
        "use_radar": False,
        "use_map": False,
        "use_external": False,
    }


def _records(
    model: Any,  # noqa: ANN401
    dataset: PosedSource,
    label_of: np.ndarray,
    indices: list[int],
    batch: Batch,
) -> Records:
    """`label_of` is (K,): the label in a results file of each class of the dataset."""
    records: Records = {}
    for index, found in zip(indices, model.predict(batch), strict=True):
        info = dataset.info(index)
        assert info.token == found.token, f"detections of {found.token} come for {info.token}"
        records[found.token] = detections_to_global(
            found.boxes.float().cpu().numpy(),
            found.scores.float().cpu().numpy(),
            label_of[found.labels.cpu().numpy()],
            info.lidar.lidar2ego,
            info.ego2global,
        )
    return records
