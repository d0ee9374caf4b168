"""Precision, confidence and errors over recall for one class and one distance threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_RECALLS = 101


@dataclass(frozen=True, eq=False)
class Curve:
    """What a class does at a threshold as the score falls, sampled at 101 recalls.

    Attributes:
        recall: (101,) 0, 0.01, ..., 1.
        precision: (101,) 0 beyond the largest recall reached.
        confidence: (101,) score at that recall, 0 beyond the largest recall reached.
        trans_err, scale_err, orient_err, vel_err, attr_err: (101,) mean error of the matches down to that score.
        num_gt: ground-truth boxes of the class.
        num_predictions: predictions of the class.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    confidence: NDArray[np.float64]
    trans_err: NDArray[np.float64]
    scale_err: NDArray[np.float64]
    orient_err: NDArray[np.float64]
    vel_err: NDArray[np.float64]
    attr_err: NDArray[np.float64]
    num_gt: int
    num_predictions: int


def build_curve(
    score: NDArray[np.float64], hit: NDArray[np.bool_], errors: Mapping[str, NDArray[np.float64]], num_gt: int
) -> Curve:
    """The curve of one class at one threshold.

    Args:
        score: (n,) of the class's predictions, falling.
        hit: (n,) whether each matched.
        errors: name -> (hits,) errors of those that matched, in the same order.
        num_gt: ground-truth boxes of the class.
    """
    recall = np.linspace(0, 1, NUM_RECALLS)
    if not hit.any():
        nothing = np.zeros(NUM_RECALLS)
        all_wrong = {name: np.ones(NUM_RECALLS) for name in errors}
        return Curve(recall, nothing, nothing, **all_wrong, num_gt=num_gt, num_predictions=len(score))
    hits = np.cumsum(hit)
    reached = hits / num_gt
    # np.interp takes the last of equal abscissae: precision after the false positives that follow a
    # match, and of equal scores, which run backwards here, the first match. The benchmark means both.
    precision = np.interp(recall, reached, hits / np.arange(1, len(hit) + 1), right=0)
    confidence = np.interp(recall, reached, score, right=0)
    means = {
        name: np.interp(confidence[::-1], score[hit][::-1], running_mean(values)[::-1])[::-1]
        for name, values in errors.items()
    }
    return Curve(recall, precision, confidence, **means, num_gt=num_gt, num_predictions=len(score))


def running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) mean of all values so far that are not NaN; 0 while there are none, 1 throughout if all are NaN."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    count = np.cumsum(known)
    mean: NDArray[np.float64] = np.divide(np.nancumsum(values), count, out=np.zeros(len(values)), where=count > 0)
    return mean


def average_precision(curve: Curve, min_recall: float, min_precision: float) -> float:
    """Mean precision above `min_precision` at recalls above `min_recall`, scaled to 1 at best."""
    excess = np.maximum(curve.precision[_first_counted(min_recall) :] - min_precision, 0)
    return float(np.mean(excess)) / (1.0 - min_precision)


def mean_error(curve: Curve, name: str, min_recall: float) -> float:
    """Mean of a true-positive error from above `min_recall` to the largest recall reached; 1 if that is not above.

    The benchmark reads the largest recall off the last confidence that is not 0, so matches with a
    score of exactly 0 do not count.
    """
    reached = np.flatnonzero(curve.confidence)
    first, last = _first_counted(min_recall), int(reached[-1]) if len(reached) else 0
    values: NDArray[np.float64] = getattr(curve, name)
    return float(np.mean(values[first : last + 1])) if last >= first else 1.0


def _first_counted(min_recall: float) -> int:
    return round((NUM_RECALLS - 1) * min_recall) + 1  # the point at min_recall itself does not count
