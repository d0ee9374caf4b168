"""What kind of mistake each false positive is, and which missed boxes no mistake explains.

At a threshold t, a false positive looks at the true boxes of its sample that count, in the ground plane:

- duplicate: one of its class is nearer than t; a higher score took it.
- class: else, one of another class is nearer than t.
- localisation: else, one of its class is nearer than 2 t.
- both: else, one of another class is nearer than 2 t.
- background: else.

So the inner ring speaks before the outer one, and in a ring the right class before a wrong one. A localisation or class
mistake is mendable while a true box of that ring and class, one that nobody took, is left for it; the mendable choose
among those in order of their scores, the nearest first, as in the benchmark. Missed is a true box that nobody took and
no such mistake gets. The kinds are those of TIDE (Bolya et al. 2020, section 2.2), with distances for overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.matches import Matches
from aqr_eval.matching import Candidates, find_candidates, match

KINDS = ("localisation", "class", "duplicate", "both", "background")
MENDABLE = ("localisation", "class")
NEAR = 2.0  # the outer ring ends at this multiple of the threshold
HIT = -1


@dataclass(frozen=True, eq=False)
class FalsePositives:
    """n predictions at one threshold, in score order.

    Attributes:
        kind: (n,) index into `KINDS`, `HIT` for a match.
        mendable: pairs of a mendable prediction and a free true box; the classes may differ.
        free: (G,) true boxes that nobody took.
    """

    kind: NDArray[np.int64]
    mendable: Candidates
    free: NDArray[np.bool_]

    def mend(self, *kinds: str) -> NDArray[np.int64]:
        """(n,) the true box, among the G, that each mistake of these kinds takes if all of them are mended; -1."""
        chosen = np.isin(self.kind, [KINDS.index(kind) for kind in kinds])
        pairs = _keep(self.mendable, np.repeat(chosen, np.diff(self.mendable.start)))
        return match(pairs, len(self.free), np.inf)

    def missed(self) -> NDArray[np.bool_]:
        """(G,) true boxes that nobody took and no mistake would take if it was mended."""
        taken = self.mend(*MENDABLE)
        missed = self.free.copy()
        missed[taken[taken >= 0]] = False
        return missed


def find_neighbours(matches: Matches) -> Candidates:
    """Every pair of a prediction and a true box of its sample, whatever their classes, as far as any ring reaches."""
    rows = np.sort(matches.rows)
    return find_candidates(
        _of_one_class(matches.all_predictions),
        rows,
        np.searchsorted(rows, matches.rows),
        _of_one_class(matches.gt),
        NEAR * max(matches.gt_of),
    )


def tell_apart(matches: Matches, neighbours: Candidates, threshold: float) -> FalsePositives:
    """Tells the false positives at a threshold apart.

    Args:
        matches: of the whole evaluation.
        neighbours: from `find_neighbours`.
        threshold: metres, one of the evaluation's.
    """
    gt_of = matches.gt_of[threshold]
    prediction = np.repeat(np.arange(len(gt_of)), np.diff(neighbours.start))
    same = matches.label[prediction] == matches.gt.label[neighbours.ground_truth]
    inner, outer = neighbours.distance < threshold, neighbours.distance < NEAR * threshold
    kind = np.full(len(gt_of), KINDS.index("background"))
    for name, pairs in (  # what comes later overrules
        ("both", outer & ~same),
        ("localisation", outer & same),
        ("class", inner & ~same),
        ("duplicate", inner & same),
    ):
        kind[prediction[pairs]] = KINDS.index(name)
    kind[gt_of >= 0] = HIT
    free = np.ones(len(matches.gt), dtype=bool)
    free[gt_of[gt_of >= 0]] = False
    of_kind = kind[prediction]
    mends = (of_kind == KINDS.index("localisation")) & outer & same
    mends |= (of_kind == KINDS.index("class")) & inner & ~same
    return FalsePositives(kind, _keep(neighbours, mends & free[neighbours.ground_truth]), free)


def _of_one_class(boxes: Boxes) -> Boxes:
    return replace(boxes, label=np.zeros_like(boxes.label))


def _keep(candidates: Candidates, kept: NDArray[np.bool_]) -> Candidates:
    before = np.concatenate([[0], np.cumsum(kept)])
    return Candidates(before[candidates.start], candidates.ground_truth[kept], candidates.distance[kept])
