"""What the devkit (1.2.0) refuses although an answer exists."""

from __future__ import annotations

import numpy as np

from aqr_eval.ground_truth import GroundTruth
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.errors import DataError, SubmissionError
from aqr_eval.submission import Submission


def require_boxes(gt: GroundTruth, predictions: Submission) -> None:
    """The devkit finds the kind of the boxes by looking at one of them ("Invalid box type: None").

    Raises:
        SubmissionError, DataError: there is no box at all.
    """
    if not len(predictions.boxes):
        raise SubmissionError(
            f"{predictions.source} holds no box, which the devkit refuses: score it without --strict."
        )
    if not len(gt.boxes):
        raise DataError(f"{gt.name} holds no box, which the devkit refuses: score without --strict.")


def require_falling_scores(metrics: DetectionMetrics, predictions: Submission) -> None:
    """The devkit asserts that the confidence falls with the recall; beyond the last match it is 0.

    Raises:
        SubmissionError: the score of a match is negative and not all true boxes of the class are found.
    """
    for (name, threshold), curve in metrics.curves.items():
        if (np.diff(curve.confidence) > 0).any():
            raise SubmissionError(
                f"{predictions.source} has negative scores among the matches of {name} within {threshold:g} m, which "
                "the devkit refuses: write scores from 0 to 1, or score without --strict."
            )
