"""The one mutable record that every transform works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from aqr_core.errors import ConfigError
from aqr_core.infos.schema import Info
from aqr_core.structures.boxes3d import BOX_DIM
from aqr_core.structures.sample import Sample
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

RawFault = Callable[[np.ndarray, str], np.ndarray]


def _no_previous(info: Info) -> Info | None:
    """For frames that no dataset made."""
    raise ConfigError(f"Keyframe '{info.token}' stands alone, without a previous one; load it through a dataset.")


@dataclass
class Frame:
    """A keyframe on its way through the pipeline.

    Image transforms change `cam2img`, scene transforms change `lidar2cam`; the projection follows from both,
    so pixels and points cannot come apart. The arrays are the frame's own, none a view of another: a transform may
    write into them.

    Attributes:
        info: what is known about the keyframe; never changed. A sensor that repeats old data has it replaced by one
            that points to the old files.
        dataroot: folder that the paths of `info` are relative to.
        rng: the only source of randomness, one per sample and epoch.
        classes: names that `gt_labels` counts.
        label_of: (K,) label of each class of the infos file among `classes`; -1 for those not detected.
        points: (P, 5) float32 x, y, z [m], intensity [0, 255], age [s].
        images: N arrays (H, W, 3), BGR; a list of uint8 as loaded, once normalised one float32 array of them all.
        cam2img: (N, 4, 4) float64 intrinsics, row and column of the depth included.
        lidar2cam: (N, 4, 4) float64; carries all scene augmentation, so it may scale and mirror.
        gt_boxes: (n, 9) float64, the convention of `boxes3d`.
        gt_labels: (n,) int64.
        blank: of 'image' and 'points', the sensors that failed. Whoever loads or fills them leaves them blank.
        raw_faults: what happens to the points of every LiDAR file before they are moved and their ring gives way to the
            age: functions of (P, 5) points x, y, z, intensity, ring in the sensor's frame, which they may write into,
            and of the file's path. See `aqr_core.data.faults`.
        previous: gives the keyframe before a keyframe of the same scene, None at the start of it.
        faults: what the faults did, for reports: 'BeamReduction/points_kept' and the like.
    """

    info: Info
    dataroot: Path
    rng: np.random.Generator
    classes: tuple[str, ...] = DETECTION_CLASSES
    label_of: np.ndarray = field(default_factory=lambda: np.arange(len(DETECTION_CLASSES)))
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.float32))
    images: list[np.ndarray] | np.ndarray = field(default_factory=list)
    cam2img: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))
    lidar2cam: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))
    gt_boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, BOX_DIM)))
    gt_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    blank: frozenset[str] = frozenset()
    raw_faults: tuple[RawFault, ...] = ()
    previous: Callable[[Info], Info | None] = _no_previous
    faults: dict[str, float] = field(default_factory=dict)

    @property
    def lidar2img(self) -> np.ndarray:
        """(N, 4, 4) projections to pixels of `images`, times depth."""
        return self.cam2img @ self.lidar2cam

    def to_sample(self, seed: int) -> Sample:
        """The finished sample.

        Raises:
            ConfigError: the pipeline leaves images of different sizes.
        """
        sizes = {image.shape for image in self.images}
        if len(sizes) > 1:
            raise ConfigError(
                f"The pipeline leaves images of different sizes {sorted(sizes)} for sample '{self.info.token}'; "
                "add ResizeCropFlipImage."
            )
        images = np.asarray(self.images, np.float32) if sizes else np.zeros((0, 0, 0, 3), np.float32)
        return Sample(
            token=self.info.token,
            points=torch.from_numpy(np.ascontiguousarray(self.points, np.float32)),
            images=torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
            lidar2img=torch.from_numpy(self.lidar2img),
            gt_boxes=torch.from_numpy(self.gt_boxes.astype(np.float32)),
            gt_labels=torch.from_numpy(self.gt_labels.astype(np.int64)),
            seed=seed,
            working=torch.tensor(["points" not in self.blank, "image" not in self.blank]),
            faults=self.faults,
        )
