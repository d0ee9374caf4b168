"""Whether a score of 0.7 means that seven in ten are right: reliability of the scores at 2 m.

The predictions that count are sorted into bins of equal width over [0, 1], each from its lower edge, inclusive; the
score 1 belongs to the last. The expected calibration error is the mean distance between the mean score and the
precision of the bins, weighted by their predictions (Naeini et al. 2015; Guo et al. 2017, section 2). Detectors hand in
many boxes of low scores, which weigh as much as they are many: read the bins beside the one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.matches import Matches
from aqr_eval.metrics import without_nan
from aqr_eval.nuscenes.errors import SubmissionError

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Predictions of similar scores.

    Attributes:
        low, high: edges of the score.
        count: predictions.
        mean_score: of them; NaN without any.
        precision: share of them that match at 2 m; NaN without any.
    """

    low: float
    high: float
    count: int
    mean_score: float
    precision: float


@dataclass(frozen=True)
class Reliability:
    """The bins by rising score, and their expected calibration error; NaN without a prediction."""

    bins: tuple[Bin, ...]
    ece: float


@dataclass(frozen=True)
class Calibration:
    """All predictions together, and class -> its predictions."""

    total: Reliability
    classes: Mapping[str, Reliability]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where a number is not defined."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def calibrate(matches: Matches, bins: int = BINS) -> Calibration:
    """Compares scores with precision.

    Raises:
        SubmissionError: a score lies outside [0, 1] and is no probability.
    """
    score = matches.score
    outside = np.flatnonzero((score < 0) | (score > 1))
    if len(outside):
        raise SubmissionError(
            f"A score of {score[outside[0]]:g} is no probability, and calibration compares probabilities with "
            "precision: map the scores to [0, 1], or do without calibration."
        )
    hit = matches.gt_of[matches.config.dist_th_tp] >= 0
    return Calibration(
        total=_reliability(score, hit, bins),
        classes={
            name: _reliability(score[matches.label == label], hit[matches.label == label], bins)
            for label, name in enumerate(matches.config.class_names)
        },
    )


def _reliability(score: NDArray[np.float64], hit: NDArray[np.bool_], bins: int) -> Reliability:
    edges = np.linspace(0, 1, bins + 1)
    place = np.minimum(np.searchsorted(edges, score, side="right") - 1, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin is NaN
        mean_score, precision = (np.bincount(place, weight, minlength=bins) / count for weight in (score, hit))
    gap = np.where(count > 0, np.abs(mean_score - precision), 0.0)
    return Reliability(
        bins=tuple(
            Bin(float(low), float(high), count=int(number), mean_score=float(mean), precision=float(rate))
            for (low, high), number, mean, rate in zip(pairwise(edges), count, mean_score, precision, strict=True)
        ),
        ece=float(gap @ count / len(score)) if len(score) else float("nan"),
    )
