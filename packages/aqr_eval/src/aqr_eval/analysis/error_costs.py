"""What each kind of mistake costs: the AP that mending it alone would bring.

Mending, as the oracle of TIDE does it (Bolya et al. 2020, section 2.3), one kind at a time:

- localisation and class: mistakes that get a free true box become matches of it, under its class and with their score;
  the others go.
- duplicate, both, background: they go.
- missed: these true boxes go.

If everything was mended at once, every class with a match left would have an AP of 1. The costs of single kinds do not
add up to what is missing, as AP is not linear in its mistakes. A class of which nothing is found has no curve that
mending its missed boxes could raise; it costs what its other mistakes cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.analysis.false_positives import HIT, KINDS, MENDABLE, FalsePositives, find_neighbours, tell_apart
from aqr_eval.config import TP_ERRORS
from aqr_eval.curves import average_precision, build_curve
from aqr_eval.matches import Matches
from aqr_eval.metrics import without_nan

MISSED = "missed"


@dataclass(frozen=True)
class ErrorKind:
    """How often a kind of mistake happens and what it costs.

    Attributes:
        count: at 2 m: false positives, or missed true boxes.
        cost: gain of AP, averaged over the four thresholds, if this kind alone was mended; of mAP in the total.
        cost_at: threshold in metres -> the gain there.
    """

    count: int
    cost: float
    cost_at: Mapping[float, float]


@dataclass(frozen=True)
class ErrorAnalysis:
    """All mistakes of a submission.

    Attributes:
        total: kind -> over all classes; `cost` is a gain of mAP.
        classes: class -> kind -> of its predictions or, missed, of its true boxes; `cost` is a gain of its AP.
        hits: matches at 2 m.
    """

    total: Mapping[str, ErrorKind]
    classes: Mapping[str, Mapping[str, ErrorKind]]
    hits: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def analyze_errors(matches: Matches) -> ErrorAnalysis:
    """Counts the mistakes and mends one kind after the other."""
    neighbours = find_neighbours(matches)
    config, kinds = matches.config, (*KINDS, MISSED)
    costs: dict[float, NDArray[np.float64]] = {}  # threshold -> (kinds, classes)
    counts = np.zeros((len(kinds), len(config.class_names)), dtype=np.int64)
    for threshold in config.dist_ths:
        mistakes = tell_apart(matches, neighbours, threshold)
        now = mended_ap(matches, mistakes, threshold)
        costs[threshold] = np.stack([mended_ap(matches, mistakes, threshold, kind) - now for kind in kinds])
        if threshold == config.dist_th_tp:
            counts = _counts(matches, mistakes)

    def summary(kind: int, classes: NDArray[np.int64]) -> ErrorKind:
        cost_at = {threshold: float(cost[kind, classes].mean()) for threshold, cost in costs.items()}
        return ErrorKind(int(counts[kind, classes].sum()), float(np.mean(list(cost_at.values()))), cost_at)

    everything = np.arange(len(config.class_names))
    return ErrorAnalysis(
        total={name: summary(kind, everything) for kind, name in enumerate(kinds)},
        classes={
            class_name: {name: summary(kind, everything[[label]]) for kind, name in enumerate(kinds)}
            for label, class_name in enumerate(config.class_names)
        },
        hits=int((matches.gt_of[config.dist_th_tp] >= 0).sum()),
    )


def mended_ap(matches: Matches, mistakes: FalsePositives, threshold: float, *kinds: str) -> NDArray[np.float64]:
    """(classes,) AP at a threshold after mending these kinds together.

    Args:
        matches: of the whole evaluation.
        mistakes: at the threshold.
        threshold: metres.
        kinds: of `KINDS`, and `MISSED`.
    """
    config = matches.config
    taken = mistakes.mend(*(kind for kind in kinds if kind in MENDABLE))
    mended = taken >= 0
    gone = np.isin(mistakes.kind, [KINDS.index(kind) for kind in kinds if kind != MISSED]) & ~mended
    label = matches.label.copy()
    label[mended] = matches.gt.label[taken[mended]]
    hit = (mistakes.kind == HIT) | mended
    left = ~mistakes.missed() if MISSED in kinds else np.ones(len(matches.gt), dtype=bool)
    num_gt = np.bincount(matches.gt.label[left], minlength=len(config.class_names))
    aps = []
    for number in range(len(config.class_names)):
        rows = np.flatnonzero((label == number) & ~gone)
        no_errors = dict.fromkeys(TP_ERRORS, np.zeros(int(hit[rows].sum())))
        curve = build_curve(matches.score[rows], hit[rows], no_errors, int(num_gt[number]))
        aps.append(average_precision(curve, config.min_recall, config.min_precision))
    return np.array(aps)


def _counts(matches: Matches, mistakes: FalsePositives) -> NDArray[np.int64]:
    """How many of each kind, the missed last: (kinds + 1, classes)."""
    size = len(matches.config.class_names)
    of_kinds = [np.bincount(matches.label[mistakes.kind == kind], minlength=size) for kind in range(len(KINDS))]
    return np.stack([*of_kinds, np.bincount(matches.gt.label[mistakes.missed()], minlength=size)])
