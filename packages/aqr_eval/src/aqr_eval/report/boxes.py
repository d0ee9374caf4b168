"""The boxes of one sample as the pictures need them: corners ready to project, colour, score, velocity, mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.matches import Matches
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.report.mistakes import Mistakes
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
    def of(cls, boxes: Boxes, *, true: bool = False) -> DrawnBoxes:
        """All `boxes`, which are of one sample; true boxes lose their scores."""
        corners = box_corners(boxes.translation, boxes.size_wlh, boxes.rotation_wxyz)
        return cls(corners, boxes.velocity, boxes.label, None if true else boxes.score)

    def __len__(self) -> int:
        return len(self.labels)

    def caption(self, index: int) -> str:
        """What a tooltip says of one box: class, score or "true", speed."""
        name = DETECTION_CLASSES[self.labels[index]].replace("_", " ")
        kind = "true" if self.scores is None else f"{self.scores[index]:.2f}"
        speed = float(np.hypot(*self.velocity[index]))
        return f"{name} {kind}" + (f", {speed:.1f} m/s" if np.isfinite(speed) else "")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one submission draws over a sample.

    Attributes:
        predicted: N boxes that score enough to be shown.
        false_positive: (N,) which of them match no true box within 2 m.
        missed: the true boxes that none of them matches.
    """

    predicted: DrawnBoxes
    false_positive: NDArray[np.bool_]
    missed: DrawnBoxes

    @classmethod
    def of_sample(cls, matches: Matches, mistakes: Mistakes, sample: int, threshold: float) -> Layer:
        """The boxes of one sample index that score at least `threshold`, the same that `mistakes` were found with."""
        shown = (matches.sample == sample) & (matches.score >= threshold)
        missed = mistakes.missed & (matches.gt.sample == sample)
        return cls(
            DrawnBoxes.of(matches.predictions.select(shown)),
            mistakes.false_positive[shown],
            DrawnBoxes.of(matches.gt.select(missed), true=True),
        )
