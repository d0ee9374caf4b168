"""What a submission gets wrong in each frame, and which frames are its worst.

A mistake is what a picture shows as one: with the predictions that score at least a threshold, a true box that none of
them matches within 2 m is missed, and one of them that matches none is a false positive. The cost of a frame is the
sum over the classes of

    (missed true boxes + scores of the false positives) / true boxes of the class in the split,

so that a class weighs the same however often it occurs, as in mAP, and a false positive weighs more the surer it was.
A class without true boxes costs nothing: no average precision is lost on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.matches import Matches


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The mistakes of one submission; G true boxes and n predictions as in `Matches`, S samples.

    Attributes:
        missed: (G,) true boxes that no sure prediction matched.
        false_positive: (n,) sure predictions that matched none.
        missed_in: (S,) how many per sample.
        false_positives_in: (S,) how many per sample.
        cost: (S,) see the module.
    """

    missed: NDArray[np.bool_]
    false_positive: NDArray[np.bool_]
    missed_in: NDArray[np.int64]
    false_positives_in: NDArray[np.int64]
    cost: NDArray[np.float64]


def find_mistakes(matches: Matches, threshold: float) -> Mistakes:
    """The mistakes among predictions that score at least `threshold`.

    Predictions choose by falling score, so that leaving out the weak ones changes no match of the others.
    """
    taken_by = matches.gt_of[matches.config.dist_th_tp]
    sure = matches.score >= threshold
    missed = np.ones(len(matches.gt), dtype=bool)
    missed[taken_by[sure & (taken_by >= 0)]] = False
    false_positive = sure & (taken_by < 0)

    frames, classes = len(matches.truth.tokens), len(matches.config.class_names)
    true_boxes = np.bincount(matches.gt.label, minlength=classes)
    weight = np.divide(1.0, true_boxes, out=np.zeros(classes), where=true_boxes > 0)
    missed_sample, missed_label = matches.gt.sample[missed], matches.gt.label[missed]
    sample, label, score = (column[false_positive] for column in (matches.sample, matches.label, matches.score))
    samples = np.concatenate([missed_sample, sample])
    costs = np.concatenate([weight[missed_label], weight[label] * score])
    return Mistakes(
        missed=missed,
        false_positive=false_positive,
        missed_in=np.bincount(missed_sample, minlength=frames),
        false_positives_in=np.bincount(sample, minlength=frames),
        cost=np.asarray(np.bincount(samples, weights=costs, minlength=frames), dtype=np.float64),
    )


def worst_samples(mistakes: Mistakes, scenes: Sequence[str], count: int) -> list[int]:
    """At most `count` samples with a cost: the worst of every scene by falling cost, then the second worst, and so on.

    Neighbours in time show the same objects, so a scene speaks again only when all others have spoken.

    Args:
        mistakes: of a submission.
        scenes: (S,) names; empty where they are unknown and all samples count as one scene.
        count: how many.
    """
    order = np.argsort(-mistakes.cost, kind="stable")
    shown: Counter[str] = Counter()
    turns: list[tuple[int, int, int]] = []
    for sample in order[mistakes.cost[order] > 0].tolist():
        scene = scenes[sample] if scenes else ""
        turns.append((shown[scene], len(turns), sample))
        shown[scene] += 1
    return [sample for _, _, sample in sorted(turns)[:count]]
