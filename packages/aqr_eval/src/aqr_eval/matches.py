"""Who matched whom: what every number of an evaluation is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.config import DetectionConfig
from aqr_eval.curves import Curve, build_curve
from aqr_eval.filters import counted_rows
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.match_errors import match_errors
from aqr_eval.matching import find_candidates, match, score_order


@dataclass(frozen=True, eq=False)
class Matches:
    """The boxes that count, and which prediction took which true box.

    G true boxes and n predictions count; predictions are numbered in the order in which they choose: falling score.

    Attributes:
        truth: what was scored against.
        gt_rows: (G,) rows of `truth.boxes`.
        all_predictions: in the order of the file; `sample` indexes `truth.tokens`.
        rows: (n,) rows of `all_predictions`, by falling score.
        gt_of: distance threshold in metres -> (n,) number of the true box, among the G, that each prediction took; -1
            for a false positive.
        config: the constants of the benchmark.
    """

    truth: GroundTruth
    gt_rows: NDArray[np.int64]
    all_predictions: Boxes
    rows: NDArray[np.int64]
    gt_of: Mapping[float, NDArray[np.int64]]
    config: DetectionConfig

    @cached_property
    def gt(self) -> Boxes:
        """The G true boxes."""
        return self.truth.boxes.select(self.gt_rows)

    @cached_property
    def predictions(self) -> Boxes:
        """The n predictions by falling score."""
        return self.all_predictions.select(self.rows)

    @cached_property
    def score(self) -> NDArray[np.float64]:
        """(n,) falling."""
        return self.all_predictions.score[self.rows]

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """(n,) class of each prediction."""
        return self.all_predictions.label[self.rows]

    @cached_property
    def sample(self) -> NDArray[np.int64]:
        """(n,) sample of each prediction."""
        return self.all_predictions.sample[self.rows]

    @cached_property
    def errors(self) -> Mapping[float, Mapping[str, NDArray[np.float64]]]:
        """Threshold -> error name -> one value per match, by falling score of the match.

        Most pairs match at several thresholds; each is measured once.
        """
        num_gt = max(len(self.gt_rows), 1)
        pairs = {threshold: hits * num_gt + self.gt_of[threshold][hits] for threshold, hits in self.hits.items()}
        distinct = np.unique(np.concatenate(list(pairs.values())))
        prediction, true = np.divmod(distinct, num_gt)
        measured = match_errors(
            self.truth.boxes.select(self.gt_rows[true]), self.all_predictions.select(self.rows[prediction])
        )
        place = {threshold: np.searchsorted(distinct, pair) for threshold, pair in pairs.items()}
        return {
            threshold: {name: values[rows] for name, values in measured.items()} for threshold, rows in place.items()
        }

    @cached_property
    def hits(self) -> Mapping[float, NDArray[np.int64]]:
        """Threshold -> numbers of the predictions that took a true box."""
        return {threshold: np.flatnonzero(gt_of >= 0) for threshold, gt_of in self.gt_of.items()}

    @cached_property
    def of_class(self) -> tuple[NDArray[np.int64], ...]:
        """Numbers of the predictions of each class."""
        return tuple(np.flatnonzero(self.label == label) for label in range(len(self.config.class_names)))

    def curves(
        self, gt_in: NDArray[np.bool_] | None = None, prediction_in: NDArray[np.bool_] | None = None
    ) -> dict[tuple[str, float], Curve]:
        """(class, threshold) -> curve over all boxes that count, or over a subset of them.

        The matching stays that of all boxes: a prediction that took a true box of the subset is a match, one that took
        another true box is ignored.

        Args:
            gt_in: (G,) the subset's true boxes; None for all.
            prediction_in: (n,) predictions that belong to the subset if they took nothing; None for all.
        """
        everything = gt_in is None and prediction_in is None
        gt_in = np.ones(len(self.gt_rows), dtype=bool) if gt_in is None else gt_in
        free_in = np.ones(len(self.rows), dtype=bool) if prediction_in is None else prediction_in
        num_gt = np.bincount(self.gt.label[gt_in], minlength=len(self.config.class_names))
        took_in = np.append(gt_in, False)  # with an entry for -1, who took nothing
        curves = {}
        for threshold, gt_of in self.gt_of.items():
            hits = self.hits[threshold]
            label_of_hits = self.label[hits]
            counts = None if everything else took_in[gt_of] | ((gt_of < 0) & free_in)
            for label, name in enumerate(self.config.class_names):
                rows, of_curve = self.of_class[label], label_of_hits == label
                if counts is not None:
                    rows, of_curve = rows[counts[rows]], of_curve & counts[hits]
                curves[name, threshold] = build_curve(
                    score=self.score[rows],
                    hit=gt_of[rows] >= 0,
                    errors={error: values[of_curve] for error, values in self.errors[threshold].items()},
                    num_gt=int(num_gt[label]),
                )
        return {
            (name, threshold): curves[name, threshold] for name in self.config.class_names for threshold in self.gt_of
        }


def match_boxes(truth: GroundTruth, predictions: Boxes, config: DetectionConfig) -> Matches:
    """Leaves out what does not count and matches the rest at every threshold.

    Args:
        truth: of all samples.
        predictions: in the order of their file, which decides between equal scores; `sample` indexes `truth.tokens`.
        config: ranges and thresholds.
    """
    context = (truth.ego_translation, truth.bicycle_racks, config)
    gt_rows = counted_rows(truth.boxes, *context)
    rows = counted_rows(predictions, *context)
    order = score_order(predictions.score[rows])
    candidates = find_candidates(predictions, rows, order, truth.boxes.select(gt_rows), max(config.dist_ths))
    return Matches(
        truth=truth,
        gt_rows=gt_rows,
        all_predictions=predictions,
        rows=rows[order],
        gt_of={threshold: match(candidates, len(gt_rows), threshold) for threshold in config.dist_ths},
        config=config,
    )
