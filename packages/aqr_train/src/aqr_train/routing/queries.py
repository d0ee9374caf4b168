"""What is known of every query of a run, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Queries:
    """The matching queries of all keyframes of a pass, one row each.

    Attributes:
        keyframe: (n,) int32 index into the dataset.
        weights: (n, 2) float32 LiDAR and camera weight.
        lidar_mass: (n, L) float32 share of the cross-attention on LiDAR tokens per decoder layer, mean over the heads.
        label: (n,) int16 best class of the last decoder layer.
        score: (n,) float32 its score.
        truth: (n,) int16 class of the annotated box that the query is matched with, -1 for none.
        distance_m: (n,) float32 from the ego vehicle to the predicted centre, on the ground.
        cameras: (n,) int8 cameras that see the query's reference point.
    """

    keyframe: NDArray[np.int32]
    weights: NDArray[np.float32]
    lidar_mass: NDArray[np.float32]
    label: NDArray[np.int16]
    score: NDArray[np.float32]
    truth: NDArray[np.int16]
    distance_m: NDArray[np.float32]
    cameras: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.keyframe)

    def select(self, rows: NDArray[Any]) -> Queries:
        """Some rows, by index or mask."""
        return Queries(*(getattr(self, item.name)[rows] for item in fields(self)))

    @classmethod
    def join(cls, parts: list[Queries]) -> Queries:
        """All rows of all parts."""
        return cls(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)))
