"""Detections of a whole dataset, on one process or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from aqr_core.structures import Batch, Detections
from aqr_eval import Submission, detections_to_global
from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_train.benchmarks.parts import REST, Mark
from aqr_train.gathering import SharedCount, gather_on_main
from aqr_train.loader import Collate, SampleSource, load_batches
from aqr_train.precision import autocast

Progress = Callable[[int, int], None]  # samples done by all processes, samples of the dataset
Note = Callable[[Batch], None]

WAIT, TO_DEVICE, TO_GLOBAL = "waiting for data", "to the device", "to host and global frame"


class PosedSource(SampleSource, Protocol):
    """A dataset that also knows where its keyframes are."""

    infos: Any
    dataroot: Any
    classes: tuple[str, ...]

    def info(self, index: int) -> Any:  # noqa: ANN401 - aqr_core.infos.Info
        """Record with `token`, `ego2global` and `lidar.lidar2ego`."""


class _Detector(Protocol):
    def predict(self, batch: Batch) -> list[Detections]: ...


def predict(
    model: nn.Module,
    dataset: PosedSource,
    collate: Collate,
    accelerator: Accelerator,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    precision: str = "fp32",
    without: str | None = None,
    progress: Progress | None = None,
    mark: Mark = lambda stage: None,
    note: Note = lambda batch: None,
) -> Submission | None:
    """Run `model.predict` over every sample once.

    Process r takes the samples r, r + W, r + 2 W, ..., so the shares may differ by one, or be empty; the model must not
    wait for other processes while it predicts.

    Args:
        model: the plain module in eval mode, on the accelerator's device.
        dataset: in test mode.
        collate: samples -> batch.
        accelerator: processes and device.
        batch_size: samples per process and call.
        num_workers: loader processes per process.
        precision: 'fp32', 'bf16' or 'fp16'.
        without: the sensor that the dataset blanks, which `meta` counts as not used.
        progress: told after each batch of this process.
        mark: told when a stage ends: `WAIT`, `TO_DEVICE`, `REST` (the model) and, last of a batch, `TO_GLOBAL`.
        note: shown each batch of this process as it was loaded.

    Returns:
        All samples in the dataset's order, on the main process; None on the others.
    """
    indices = list(range(accelerator.process_index, len(dataset), accelerator.num_processes))
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    label_of = np.array([DETECTION_CLASSES.index(name) for name in dataset.classes])
    own: list[Boxes] = []
    done, detector = SharedCount(accelerator), cast(_Detector, model)
    with torch.inference_mode(), autocast(accelerator.device, precision):
        loader = load_batches(dataset, batches, collate, num_workers)
        for batch_indices, loaded in zip(batches, loader, strict=True):
            mark(WAIT)
            note(loaded)
            batch = loaded.to(accelerator.device)
            mark(TO_DEVICE)
            detections = detector.predict(batch)
            mark(REST)
            for index, found in zip(batch_indices, detections, strict=True):
                own.append(_place(index, found, dataset, label_of))
            mark(TO_GLOBAL)
            predicted = done.add(len(batch_indices))
            if progress is not None:
                progress(predicted, len(dataset))
    parts = gather_on_main(Boxes.concatenate(own), accelerator)
    if not accelerator.is_main_process:
        return None
    boxes = Boxes.concatenate(parts)
    tokens = tuple(dataset.info(index).token for index in range(len(dataset)))
    in_order = np.argsort(boxes.sample, kind="stable")  # equal scores keep the order of the model
    return Submission(tokens, boxes.select(in_order), sensors_used(model, without))


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


def _place(index: int, found: Detections, dataset: PosedSource, label_of: NDArray[np.int64]) -> Boxes:
    """What was found in sample `index`, whose number the boxes carry; `label_of` is (K,): dataset's label -> ours."""
    info = dataset.info(index)
    assert info.token == found.token, f"detections of {found.token} come for {info.token}"
    placed = detections_to_global(
        found.boxes.float().cpu().numpy(),
        found.scores.float().cpu().numpy(),
        label_of[found.labels.cpu().numpy()],
        info.lidar.lidar2ego,
        info.ego2global,
    )
    return placed.with_sample(np.full(len(placed), index))
