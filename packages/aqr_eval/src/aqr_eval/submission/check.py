"""What every submission must hold, whatever file it came from."""

from __future__ import annotations

import numpy as np

from aqr_eval.nuscenes.classes import MAX_BOXES_PER_SAMPLE
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.submission.submission import Submission


def crowded(where: str, count: int, limit: int = MAX_BOXES_PER_SAMPLE) -> SubmissionError:
    """The error for a sample with too many boxes."""
    return SubmissionError(f"{where} has {count} boxes, the limit is {limit}: keep the highest scores.")


def check_boxes(submission: Submission) -> None:
    """Refuses numbers that are not finite, and too many boxes in a sample.

    Raises:
        SubmissionError: names the sample and the field; only velocities may be NaN.
    """
    boxes, tokens = submission.boxes, submission.tokens
    count = np.bincount(boxes.sample, minlength=1)
    if count.max() > MAX_BOXES_PER_SAMPLE:
        raise crowded(f"{submission.source}: sample {tokens[count.argmax()]!r}", count.max())
    columns = {
        "translation": boxes.translation,
        "size": boxes.size_wlh,
        "rotation": boxes.rotation_wxyz,
        "velocity": boxes.velocity,
        "detection_score": boxes.score[:, None],
    }
    for field, values in columns.items():
        allowed = ~np.isinf(values) if field == "velocity" else np.isfinite(values)
        if not allowed.all():
            row, column = np.argwhere(~allowed)[0]
            raise SubmissionError(
                f"{submission.source}: sample {tokens[boxes.sample[row]]!r} has a box whose {field} holds "
                f"{values[row, column]}: only velocity may be NaN and nothing may be infinite, so check the model."
            )
