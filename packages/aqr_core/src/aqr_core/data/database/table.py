"""What is known about each object without opening its files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """One row per object.

    Attributes:
        classes: names that `labels` counts.
        boxes: (n, 9) float64, LiDAR frame of the object's keyframe, the convention of `boxes3d`; velocity NaN where
            unknown.
        labels: (n,) int64.
        num_points: (n,) int64, points that are stored.
        difficulty: (n,) int64, -1 what a sampler should leave out, 0 where the source does not say.
        with_image: (n,) bool, objects with an image crop; no camera shows the others well.
        has_images: whether the database holds image crops at all.
    """

    classes: tuple[str, ...]
    boxes: np.ndarray
    labels: np.ndarray
    num_points: np.ndarray
    difficulty: np.ndarray
    with_image: np.ndarray
    has_images: bool

    def __len__(self) -> int:
        return len(self.labels)
