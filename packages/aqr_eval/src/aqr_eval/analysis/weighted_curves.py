"""The curves of an evaluation whose scenes count several times or not at all, without matching again.

Samples do not share boxes, so a scene that is drawn twice brings every prediction and every true box twice and changes
no match. A curve needs three counts at 101 recalls: matches, false positives, and where the score stands. With the
predictions in score order one running sum of the weights holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.config import TP_ERRORS, DetectionConfig
from aqr_eval.curves import NUM_RECALLS, Curve
from aqr_eval.matches import Matches

_RECALL = np.linspace(0, 1, NUM_RECALLS)
_NOTHING, _ALL_WRONG = np.zeros(NUM_RECALLS), np.ones(NUM_RECALLS)


@dataclass(frozen=True, eq=False)
class _Hits:
    """The h matches of one class at one threshold, by falling score.

    Attributes:
        position: (h,) among the predictions of the class.
        score: (h,) falling.
        scene: (h,) of each match.
        errors: name -> (h,) error, 0 where it is unknown; empty at thresholds where no errors are taken.
        known: name -> (h,) whether it is known; only of errors that are unknown somewhere.
    """

    position: NDArray[np.int64]
    score: NDArray[np.float64]
    scene: NDArray[np.int64]
    errors: Mapping[str, NDArray[np.float64]]
    known: Mapping[str, NDArray[np.bool_]]

    @classmethod
    def from_rows(
        cls,
        position: NDArray[np.int64],
        score: NDArray[np.float64],
        scene: NDArray[np.int64],
        errors: Mapping[str, NDArray[np.float64]],
    ) -> _Hits:
        """`score` and `scene` of all predictions of the class, `errors` of the matches."""
        known = {error: ~np.isnan(values) for error, values in errors.items()}
        return cls(
            position=position,
            score=score[position],
            scene=scene[position],
            errors={error: np.where(known[error], values, 0.0) for error, values in errors.items()},
            known={error: mask for error, mask in known.items() if not mask.all()},
        )


@dataclass(frozen=True, eq=False)
class WeightedCurves:
    """What the curves of any weighting of the scenes are made from.

    Attributes:
        num_gt: (scenes, classes) true boxes that count.
        score: class -> (n,) falling.
        scene: class -> (n,) scene of each prediction.
        hits: (class, threshold) -> matches.
        config: the constants of the benchmark.
    """

    num_gt: NDArray[np.int64]
    score: Mapping[str, NDArray[np.float64]]
    scene: Mapping[str, NDArray[np.int64]]
    hits: Mapping[tuple[str, float], _Hits]
    config: DetectionConfig

    @classmethod
    def from_matches(cls, matches: Matches, scene_of_sample: NDArray[np.int64]) -> WeightedCurves:
        """`scene_of_sample`: (S,) numbers of the scenes, from 0."""
        config = matches.config
        scene = scene_of_sample[matches.sample]
        num_gt = np.zeros((int(scene_of_sample.max()) + 1, len(config.class_names)), dtype=np.int64)
        np.add.at(num_gt, (scene_of_sample[matches.gt.sample], matches.gt.label), 1)
        rows = dict(zip(config.class_names, matches.of_class, strict=True))
        score_of = {name: matches.score[rows[name]] for name in config.class_names}
        scene_of = {name: scene[rows[name]] for name in config.class_names}
        hits = {}
        for threshold, gt_of in matches.gt_of.items():
            label_of_hits = matches.label[matches.hits[threshold]]
            taken = matches.errors[threshold] if threshold == config.dist_th_tp else {}
            for label, name in enumerate(config.class_names):
                position = np.flatnonzero(gt_of[rows[name]] >= 0)
                errors = {error: values[label_of_hits == label] for error, values in taken.items()}
                hits[name, threshold] = _Hits.from_rows(position, score_of[name], scene_of[name], errors)
        return cls(num_gt, score_of, scene_of, hits, config)

    def curves(self, weight: NDArray[np.int64]) -> dict[tuple[str, float], Curve]:
        """(scenes,) how often each scene counts -> the curves of the evaluation that holds it so often."""
        num_gt = weight @ self.num_gt
        curves = {}
        for label, name in enumerate(self.config.class_names):
            total = np.cumsum(weight[self.scene[name]])
            for threshold in self.config.dist_ths:
                hits = self.hits[name, threshold]
                curves[name, threshold] = _curve(self.score[name], total, hits, weight[hits.scene], int(num_gt[label]))
        return curves


def _curve(
    score: NDArray[np.float64], total: NDArray[np.int64], hits: _Hits, copies: NDArray[np.int64], num_gt: int
) -> Curve:
    """What `build_curve` makes of predictions that are there several times.

    Args:
        score: (n,) of the class's predictions, falling.
        total: (n,) predictions up to and including each, copies counted.
        hits: the matches among them.
        copies: (h,) of each match.
        num_gt: true boxes, copies counted.
    """
    found = np.cumsum(copies)
    num_predictions = int(total[-1]) if len(total) else 0
    if not len(found) or not found[-1]:
        errors = dict.fromkeys(TP_ERRORS, _ALL_WRONG)
        return Curve(_RECALL, _NOTHING, _NOTHING, **errors, num_gt=num_gt, num_predictions=num_predictions)
    # Each recall lies between `below` matches and one more. Behind the first of these points come the false positives
    # that precede the second, so both points share one count of false positives.
    below = np.floor(_RECALL * num_gt).astype(np.int64)
    below += (below + 1) / num_gt <= _RECALL
    below -= below / num_gt > _RECALL
    following = np.searchsorted(found, below + 1)  # the match that has the next copy; h behind the last
    nearest = np.minimum(following, len(found) - 1)
    false = np.where(
        following < len(found), total[hits.position[nearest]] - found[nearest], num_predictions - found[-1]
    )
    upper = hits.score[nearest]
    lower = score[np.minimum(np.searchsorted(total, below + false), len(score) - 1)]
    start = below + false == 0  # no prediction yet: the curve begins at the first match
    share = (_RECALL - below / num_gt) * num_gt
    reached = found[-1] / num_gt >= _RECALL

    def between(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(reached, np.where(start, high, low + (high - low) * share), 0.0)

    precision = between(below / np.maximum(below + false, 1), (below + 1) / (below + 1 + false))
    confidence = between(lower, upper)
    means = {error: _NOTHING for error in TP_ERRORS} | _mean_errors(hits, copies, found, confidence)
    return Curve(_RECALL, precision, confidence, **means, num_gt=num_gt, num_predictions=num_predictions)


def _mean_errors(
    hits: _Hits, copies: NDArray[np.int64], found: NDArray[np.int64], confidence: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Running means of the errors at 101 confidences; `copies` and `found`, their running sum, are those of the hits.

    Between two scores the benchmark goes from the mean behind all copies of the upper match to the mean behind the
    first copy of the lower one; at a score it takes the first copy.
    """
    if not hits.errors:
        return {}
    higher = len(found) - np.searchsorted(hits.score[::-1], confidence, side="right")  # matches that score higher
    above = np.append(0, found)[higher]  # their copies
    upper = np.searchsorted(found, above)  # the last match above, if `above` is not 0
    lower = np.minimum(np.searchsorted(found, above + 1), len(found) - 1)
    gap = hits.score[upper] - hits.score[lower]
    share = np.divide(confidence - hits.score[lower], gap, out=np.zeros(NUM_RECALLS), where=gap > 0)
    share = np.where(above == found[-1], 1.0, np.where(above == 0, 0.0, share))
    means = {}
    for error, values in hits.errors.items():
        known = hits.known.get(error)
        total: NDArray[np.float64] = np.cumsum(copies * values)
        count: NDArray[np.int64] = found if known is None else np.cumsum(copies * known)
        if not count[-1]:
            means[error] = _ALL_WRONG
            continue
        spare = (copies[lower] - 1) * (1 if known is None else known[lower])
        at_upper = _ratio(total[upper], count[upper])
        at_lower = _ratio(total[lower] - spare * values[lower], count[lower] - spare)
        means[error] = at_lower + (at_upper - at_lower) * share
    return means


def _ratio(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(total, count, out=np.zeros(len(total)), where=count > 0)
    return ratio
