"""The boxes of one sample as the pictures need them: corners ready to project, colour index, score, velocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.report.projection import box_corners

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DrawnBoxes:
    """Boxes of one sample in the global frame, either true (`scores` is None) or predicted.

    Attributes:
        corners: (N, 8, 3) metres, ordered as in `projection.EDGES`.
        velocity: (N, 2) m/s along global x and y, NaN where unknown.
        labels: (N,) index into `DETECTION_CLASSES`.
        scores: (N,) confidence of a prediction, or None.
    """

    corners: Array
    velocity: Array
    labels: NDArray[np.int64]
    scores: Array | None

    @classmethod
    def of_sample(cls, boxes: Boxes, sample: int, *, true: bool = False) -> DrawnBoxes:
        """The boxes of one sample index; true boxes lose their scores."""
        chosen = boxes.select(boxes.sample == sample)
        corners = box_corners(chosen.translation, chosen.size_wlh, chosen.rotation_wxyz)
        return cls(corners, chosen.velocity, chosen.label, None if true else chosen.score)

    def __len__(self) -> int:
        return len(self.labels)

    def caption(self, index: int) -> str:
        """What a tooltip says of one box: class, score or "true", speed."""
        name = DETECTION_CLASSES[self.labels[index]].replace("_", " ")
        kind = "true" if self.scores is None else f"{self.scores[index]:.2f}"
        speed = float(np.hypot(*self.velocity[index]))
        return f"{name} {kind}" + (f", {speed:.1f} m/s" if np.isfinite(speed) else "")
