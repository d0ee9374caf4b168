"""The benchmark's numbers for groups of boxes: near and far, slow and fast, by night and in rain.

One matching serves all groups, that of the whole evaluation. In a group, true boxes outside it are ignored, and so are
predictions that took one of them: a car at 19 m found at 21 m is a match of the group "10-20 m" and no false positive
of the group "20-30 m". A prediction that took nothing belongs to a group by what it says itself: its own distance,
speed, camera or scene. Visibility and the number of points are known of annotations only, so a false positive has none;
these groups have a recall and true-positive errors, but no AP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.analysis.properties import PROPERTIES
from aqr_eval.config import TP_ERRORS
from aqr_eval.matches import Matches
from aqr_eval.metrics import DetectionMetrics, without_nan


@dataclass(frozen=True)
class ClassScores:
    """One class in one group; NaN where a number is not defined.

    Attributes:
        true_boxes: that count.
        ap: averaged over the thresholds.
        recall: share of the true boxes found at 2 m, at whatever score.
        tp_errors: error name -> mean error at 2 m.
    """

    true_boxes: int
    ap: float
    recall: float
    tp_errors: Mapping[str, float]


@dataclass(frozen=True)
class Group:
    """One group of boxes; NaN where a number is not defined.

    Attributes:
        label: such as "10-20 m".
        true_boxes: that count.
        mean_ap: mAP over all classes as in the benchmark, where an absent class has AP 0.
        mean_ap_present: over the classes with true boxes in the group: the number to compare groups by.
        nds: as in the benchmark, where an absent class has errors of 1.
        nds_present: over the classes with true boxes in the group.
        recall: threshold in metres -> share of the true boxes found, all classes together, at whatever score.
        tp_errors: error name -> mean over all classes as in the benchmark.
        tp_errors_present: error name -> mean over the classes with true boxes in the group.
        classes: those with true boxes in the group.
    """

    label: str
    true_boxes: int
    mean_ap: float
    mean_ap_present: float
    nds: float
    nds_present: float
    recall: Mapping[float, float]
    tp_errors: Mapping[str, float]
    tp_errors_present: Mapping[str, float]
    classes: Mapping[str, ClassScores]


@dataclass(frozen=True)
class Breakdown:
    """The whole and its parts.

    Attributes:
        whole: all boxes that count; the numbers of `DetectionMetrics`.
        groups: property -> its groups in order, without those that hold no true box.
        unknown: properties that the ground truth does not know.
    """

    whole: Group
    groups: Mapping[str, tuple[Group, ...]]
    unknown: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where a number is not defined."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def break_down(matches: Matches, properties: Sequence[str] = tuple(PROPERTIES)) -> Breakdown:
    """The numbers of every group of the properties asked for.

    Args:
        matches: of the whole evaluation.
        properties: names in `PROPERTIES`.
    """
    everything = np.ones(len(matches.gt_rows), dtype=bool), np.ones(len(matches.rows), dtype=bool)
    found = {name: PROPERTIES[name](matches) for name in properties}
    return Breakdown(
        whole=_group(matches, "all", *everything),
        groups={
            name: tuple(
                _group(matches, label, gt_in, None if one.predictions is None else one.predictions[number])
                for number, (label, gt_in) in enumerate(zip(one.labels, one.gt, strict=True))
                if gt_in.any()
            )
            for name, one in found.items()
            if one is not None
        },
        unknown=tuple(name for name, one in found.items() if one is None),
    )


def _group(matches: Matches, label: str, gt_in: NDArray[np.bool_], prediction_in: NDArray[np.bool_] | None) -> Group:
    """`prediction_in` is None where false positives cannot be told apart."""
    config = matches.config
    nobody = np.zeros(len(matches.rows), dtype=bool)
    metrics = DetectionMetrics.from_curves(
        matches.curves(gt_in, nobody if prediction_in is None else prediction_in), config
    )
    defined = 1.0 if prediction_in is not None else math.nan  # precision without false positives says nothing
    found = {threshold: _found(gt_of, len(gt_in)) & gt_in for threshold, gt_of in matches.gt_of.items()}
    classes = {}
    for name in metrics.present_classes:
        of_class = matches.gt.label == config.class_names.index(name)
        true_boxes = int((gt_in & of_class).sum())
        classes[name] = ClassScores(
            true_boxes=true_boxes,
            ap=metrics.mean_dist_aps[name] * defined,
            recall=int((found[config.dist_th_tp] & of_class).sum()) / true_boxes,
            tp_errors=metrics.label_tp_errors[name],
        )
    errors_present = {error: _mean([one.tp_errors[error] for one in classes.values()]) for error in TP_ERRORS}
    return Group(
        label=label,
        true_boxes=(total := int(gt_in.sum())),
        mean_ap=metrics.mean_ap * defined,
        mean_ap_present=metrics.mean_ap_present * defined,
        nds=metrics.nd_score * defined,
        nds_present=_detection_score(metrics.mean_ap_present, errors_present, config.mean_ap_weight) * defined,
        recall={threshold: int(boxes.sum()) / total if total else math.nan for threshold, boxes in found.items()},
        tp_errors=metrics.tp_errors,
        tp_errors_present=errors_present,
        classes=classes,
    )


def _found(gt_of: NDArray[np.int64], num_gt: int) -> NDArray[np.bool_]:
    """(G,) whether somebody took each true box."""
    found = np.zeros(num_gt, dtype=bool)
    found[gt_of[gt_of >= 0]] = True
    return found


def _detection_score(mean_ap: float, errors: Mapping[str, float], weight: float) -> float:
    """NDS of the errors that exist: among traffic cones alone nobody has a heading."""
    scores = [1.0 - min(1.0, error) for error in errors.values() if not math.isnan(error)]
    return (weight * mean_ap + sum(scores)) / (weight + len(scores))


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
