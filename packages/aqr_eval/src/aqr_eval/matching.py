"""Greedy matching of predictions to ground truth by centre distance, without a loop over boxes.

The benchmark lets predictions choose in order of falling score: each takes the nearest ground truth of
its sample and class that is still free, if it is closer than the threshold. That outcome is the one
stable matching in which every ground truth prefers higher scores and every prediction prefers shorter
distances, so rounds of proposals, each a few numpy calls over all samples and classes, find it exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

_PAIRS_PER_CHUNK = 4_000_000  # bounds the memory of the candidate search to a few hundred megabytes


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of one sample and class that are near enough for some threshold.

    Sorted by prediction, then distance, then ground truth: each prediction's wishes in order.

    Attributes:
        start: (n + 1,) pairs `start[p]:start[p + 1]` belong to prediction p.
        ground_truth: (pairs,) row in the ground truth.
        distance: (pairs,) between the centres in the ground plane, metres.
    """

    start: NDArray[np.int64]
    ground_truth: NDArray[np.int64]
    distance: NDArray[np.float64]


def score_order(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) row numbers by falling score; of equal scores the later row goes first, as in the devkit."""
    return np.argsort(score, kind="stable")[::-1]


def find_candidates(predictions: Boxes, gt: Boxes, max_distance: float) -> Candidates:
    """All pairs of equal sample and class closer than `max_distance` metres.

    Args:
        predictions: in the order in which they choose.
        gt: ground truth; of two at the same distance the earlier row is preferred.
        max_distance: metres.
    """
    pieces = list(_near_pairs(predictions, gt, max_distance))
    prediction, ground_truth, distance = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    order = np.lexsort((ground_truth, distance, prediction))
    return Candidates(
        start=np.searchsorted(prediction[order], np.arange(len(predictions) + 1)),
        ground_truth=ground_truth[order],
        distance=distance[order],
    )


def match(candidates: Candidates, num_gt: int, threshold: float) -> NDArray[np.int64]:
    """Matches at one threshold.

    Args:
        candidates: pairs found with a distance of at least `threshold`.
        num_gt: number of ground-truth boxes.
        threshold: metres; only pairs strictly closer match.

    Returns:
        (n,) ground-truth row of each prediction, -1 where it found none.
    """
    num_predictions = len(candidates.start) - 1
    nobody = num_predictions
    holder = np.full(num_gt, nobody)  # the prediction that a ground truth currently prefers
    wish = candidates.start[:-1].copy()  # the pair that each prediction proposes next
    near = np.concatenate([[0], np.cumsum(candidates.distance < threshold)])
    end = wish + near[candidates.start[1:]] - near[candidates.start[:-1]]
    active = np.flatnonzero(wish < end)
    while len(active):
        wanted = candidates.ground_truth[wish[active]]
        before = holder[wanted]
        np.minimum.at(holder, wanted, active)
        after = holder[wanted]
        rejected = active[after != active]
        displaced = before[(before != after) & (before != nobody)]
        active = np.union1d(rejected, displaced)
        wish[active] += 1
        active = active[wish[active] < end[active]]
    matched = np.full(num_predictions, -1)
    taken = np.flatnonzero(holder != nobody)
    matched[holder[taken]] = taken
    return matched


def _near_pairs(
    predictions: Boxes, gt: Boxes, max_distance: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Yields (prediction, ground truth, distance) columns, at least once."""
    key = predictions.sample * len(DETECTION_CLASSES) + predictions.label
    gt_key = gt.sample * len(DETECTION_CLASSES) + gt.label
    gt_order = np.argsort(gt_key, kind="stable")
    first = np.searchsorted(gt_key[gt_order], key, side="left")
    count = np.searchsorted(gt_key[gt_order], key, side="right") - first
    total = np.concatenate([[0], np.cumsum(count)])
    begin = 0
    while True:
        end = max(begin + 1, int(np.searchsorted(total, total[begin] + _PAIRS_PER_CHUNK, side="right")) - 1)
        end = min(end, len(predictions))
        prediction = np.repeat(np.arange(begin, end), count[begin:end])
        within = np.arange(len(prediction)) - np.repeat(total[begin:end] - total[begin], count[begin:end])
        ground_truth = gt_order[first[prediction] + within]
        offset = predictions.translation[prediction, :2] - gt.translation[ground_truth, :2]
        distance = np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2)
        near = distance < max_distance
        yield prediction[near], ground_truth[near], distance[near]
        begin = end
        if begin >= len(predictions):
            return
