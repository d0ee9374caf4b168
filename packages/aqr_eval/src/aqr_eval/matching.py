"""Greedy matching of predictions to ground truth by centre distance, without a loop over boxes.

The benchmark lets predictions choose in order of falling score: each takes the nearest ground truth of
its sample and class that is still free, if it is closer than the threshold. That outcome is the one
stable matching in which every ground truth prefers higher scores and every prediction prefers shorter
distances, so rounds of proposals, each a few numpy calls over all samples and classes, find it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

_PAIRS_PER_CHUNK = 1_000_000  # bounds the memory of the candidate search to some tens of megabytes
_SLACK_M = 1e-3  # the search along x rounds, the distance that decides does not


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of one sample and class that are near enough for some threshold.

    Sorted by prediction, then distance, then ground truth: each prediction's wishes in order.

    Attributes:
        start: (n + 1,) pairs `start[p]:start[p + 1]` belong to prediction p, predictions in the order in which they
            choose.
        ground_truth: (pairs,) row in the ground truth.
        distance: (pairs,) between the centres in the ground plane, metres.
    """

    start: NDArray[np.int64]
    ground_truth: NDArray[np.int64]
    distance: NDArray[np.float64]


def score_order(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) row numbers by falling score; of equal scores the later row goes first, as in the devkit."""
    return np.argsort(score, kind="stable")[::-1]


def find_candidates(
    predictions: Boxes, rows: NDArray[np.int64], order: NDArray[np.int64], gt: Boxes, max_distance: float
) -> Candidates:
    """All pairs of equal sample and class closer than `max_distance` metres.

    Args:
        predictions: all, of which `rows` take part.
        rows: (n,) rows of `predictions`; quickest where rows of one sample lie together, as in a file.
        order: (n,) positions in `rows` in the order in which they choose.
        gt: ground truth; of two at the same distance the earlier row is preferred.
        max_distance: metres.
    """
    key = predictions.sample[rows] * len(DETECTION_CLASSES) + predictions.label[rows]
    place = predictions.translation[rows, :2]
    first, last, gt_order = _neighbours_along_x(key, place[:, 0], gt, max_distance)
    count = last - first
    total = np.concatenate([[0], np.cumsum(count)])
    pieces = []
    begin = 0
    while begin < len(rows):
        end = max(begin + 1, int(np.searchsorted(total, total[begin] + _PAIRS_PER_CHUNK, side="right")) - 1)
        position = np.repeat(np.arange(begin, end), count[begin:end])
        within = np.arange(len(position)) - np.repeat(total[begin:end] - total[begin], count[begin:end])
        true = gt_order[first[position] + within]
        offset = place[position] - gt.translation[true, :2]
        distance = np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2)
        near = distance < max_distance
        pieces.append((position[near], true[near], distance[near]))
        begin = end
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    position, ground_truth, distance = (np.concatenate(columns) for columns in zip(nothing, *pieces, strict=True))
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows))
    prediction = rank[position]
    wishes = np.lexsort((ground_truth, distance, prediction))
    return Candidates(
        start=np.searchsorted(prediction[wishes], np.arange(len(rows) + 1)),
        ground_truth=ground_truth[wishes],
        distance=distance[wishes],
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


def _neighbours_along_x(
    key: NDArray[np.int64], x: NDArray[np.float64], gt: Boxes, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """For each (key, x) the true boxes of the same key within `reach` along x.

    Keys lie behind one another on one line, further apart than anything reaches, so that one search finds both.

    Returns:
        first, last: (n,) ranges of `order`.
        order: (G,) rows of the ground truth.
    """
    gt_key = gt.sample * len(DETECTION_CLASSES) + gt.label
    if not len(key) or not len(gt):
        return np.zeros(len(key), np.int64), np.zeros(len(key), np.int64), np.arange(len(gt))
    gt_x = gt.translation[:, 0]
    # Places count from the first true box of their sample, so that few digits are lost to the position on the map.
    origin = np.zeros(int(max(gt.sample.max(), key.max() // len(DETECTION_CLASSES))) + 1)
    origin[gt.sample[::-1]] = gt_x[::-1]
    here, there = x - origin[key // len(DETECTION_CLASSES)], gt_x - origin[gt.sample]
    width = 2 * (max(np.abs(here).max(), np.abs(there).max()) + reach + _SLACK_M)
    line = gt_key * width + there
    order = np.argsort(line, kind="stable")
    wanted = key * width + here
    first = np.searchsorted(line[order], wanted - (reach + _SLACK_M))
    last = np.searchsorted(line[order], wanted + (reach + _SLACK_M))
    return first, last, order
