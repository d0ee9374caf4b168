"""Boxes of many samples as columns: the one container of ground truth, predictions and bicycle racks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES

CLASS_INDEX = {name: index for index, name in enumerate(DETECTION_CLASSES)}
ATTRIBUTE_INDEX = {"": -1} | {name: index for index, name in enumerate(ATTRIBUTES)}


@dataclass(frozen=True, eq=False)
class Boxes:
    """n boxes in the global frame; metres, radians, m/s.

    Attributes:
        sample: (n,) index into the sample tokens kept beside the boxes.
        label: (n,) index into `DETECTION_CLASSES`.
        translation: (n, 3) centre.
        size_wlh: (n, 3) width, length, height.
        rotation_wxyz: (n, 4) quaternion of any length.
        velocity: (n, 2), NaN where unknown.
        score: (n,) confidence; -1 for ground truth.
        attribute: (n,) index into `ATTRIBUTES`, -1 where there is none.
        num_pts: (n,) LiDAR and radar points inside; -1 where unknown.
    """

    sample: NDArray[np.int64]
    label: NDArray[np.int64]
    translation: NDArray[np.float64]
    size_wlh: NDArray[np.float64]
    rotation_wxyz: NDArray[np.float64]
    velocity: NDArray[np.float64]
    score: NDArray[np.float64]
    attribute: NDArray[np.int64]
    num_pts: NDArray[np.int64]

    def __post_init__(self) -> None:
        for field in fields(self):
            column = getattr(self, field.name)
            assert len(column) == len(self.sample), f"{field.name} has {len(column)} rows, sample {len(self.sample)}"

    def __len__(self) -> int:
        return len(self.sample)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Boxes:
        """The boxes of a mask or of row numbers."""
        return Boxes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def with_sample(self, sample: NDArray[np.int64]) -> Boxes:
        """The same boxes with their sample indices replaced."""
        return replace(self, sample=sample)

    @classmethod
    def concatenate(cls, parts: Sequence[Boxes]) -> Boxes:
        """The boxes of all parts, one part after another; none of no parts."""
        if not parts:
            return cls.from_numbers([], [], [], [])
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{name: np.concatenate(values) for name, values in columns.items()})

    @classmethod
    def from_numbers(
        cls, sample: Iterable[int], label: Iterable[int], attribute: Iterable[int], numbers: Iterable[float]
    ) -> Boxes:
        """Builds the columns from flat rows.

        Args:
            sample: n sample indices.
            label: n class indices.
            attribute: n attribute indices.
            numbers: n x 14 values: translation, size, rotation, velocity, score, number of points.
        """
        table = np.asarray(numbers, dtype=np.float64).reshape(-1, 14)
        return cls(
            sample=np.asarray(sample, dtype=np.int64),
            label=np.asarray(label, dtype=np.int64),
            translation=table[:, 0:3],
            size_wlh=table[:, 3:6],
            rotation_wxyz=table[:, 6:10],
            velocity=table[:, 10:12],
            score=table[:, 12],
            attribute=np.asarray(attribute, dtype=np.int64),
            num_pts=table[:, 13].astype(np.int64),
        )
