"""The nuScenes detection evaluation, from ground truth and submission to numbers.

Equal to the devkit's `DetectionEval` (1.2.0) to the last digits, tens of times faster, and with an
answer where that one crashes: no prediction at all scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from aqr_eval.boxes import Boxes
from aqr_eval.config import DetectionConfig, detection_config
from aqr_eval.cores import available_cores, map_in_processes
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.matches import Matches, match_boxes
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.strictness import require_boxes, require_falling_scores
from aqr_eval.submission import Submission, load_submission
from aqr_eval.submission.check import crowded


def evaluate(
    gt: GroundTruth,
    predictions: Submission,
    config: str | DetectionConfig = "detection_cvpr_2019",
    *,
    strict: bool = False,
) -> DetectionMetrics:
    """Scores a submission.

    Args:
        gt: from `load_ground_truth`.
        predictions: from `load_submission`; its samples must be exactly those of `gt` (custom splits
            ignore further ones).
        config: name or constants of the benchmark.
        strict: refuse what the devkit refuses though it has an answer: no box at all on either side, and negative
            scores before the last true box is found.

    Raises:
        SubmissionError: samples are missing or foreign, a sample has too many boxes, or a box that matches
            has a side of 0 m.
    """
    if strict:
        require_boxes(gt, predictions)
    metrics = DetectionMetrics.from_matches(find_matches(gt, predictions, config))
    if strict:
        require_falling_scores(metrics, predictions)
    return metrics


def evaluate_files(
    gt: GroundTruth,
    paths: Sequence[str | Path],
    config: str | DetectionConfig = "detection_cvpr_2019",
    *,
    strict: bool = False,
    workers: int | None = None,
) -> list[DetectionMetrics]:
    """Reads and scores several submissions, side by side in as many processes as `workers`, by default one per core.

    Raises:
        SubmissionError: of the first file in order that has a fault; see `load_submission` and `evaluate`.
    """
    score = partial(_evaluate_file, replace(gt, cameras=None), config, strict)  # whose poses no process needs
    return map_in_processes(score, paths, workers=min(len(paths), workers or available_cores()))


def _evaluate_file(gt: GroundTruth, config: str | DetectionConfig, strict: bool, path: str | Path) -> DetectionMetrics:
    return evaluate(gt, load_submission(path), config, strict=strict)


def find_matches(
    gt: GroundTruth, predictions: Submission, config: str | DetectionConfig = "detection_cvpr_2019"
) -> Matches:
    """The first half of `evaluate`, which analyses of all kinds start from; same arguments, same errors."""
    config = detection_config(config) if isinstance(config, str) else config
    aligned = align_samples(gt, predictions)
    _require_few_boxes(aligned, gt.tokens, config.max_boxes_per_sample)
    matches = match_boxes(gt, aligned, config)
    _require_sizes(matches)
    return matches


def align_samples(gt: GroundTruth, predictions: Submission) -> Boxes:
    """The predictions with `sample` indexing the ground truth's tokens.

    Their order decides between equal scores: that of the file, or for custom splits that of the dataset.

    Raises:
        SubmissionError: samples are missing, or foreign where that is not allowed.
    """
    position = {token: index for index, token in enumerate(gt.tokens)}
    known = set(predictions.tokens)
    missing = [token for token in gt.tokens if token not in known]
    extra = [token for token in predictions.tokens if token not in position]
    if missing or (extra and not gt.allows_extra_samples):
        raise SubmissionError(
            f"{predictions.source} does not hold the {len(gt.tokens)} samples of the split: "
            f"{_listed('missing', missing)}, {_listed('extra', extra)}; write one list per sample, empty if nothing "
            "was found, and check the split."
        )
    index = np.array([position.get(token, -1) for token in predictions.tokens], dtype=np.int64)
    boxes = predictions.boxes.with_sample(index[predictions.boxes.sample])
    if not gt.allows_extra_samples:
        return boxes
    boxes = boxes.select(boxes.sample >= 0)
    return boxes.select(np.argsort(boxes.sample, kind="stable"))


def _require_few_boxes(predictions: Boxes, tokens: tuple[str, ...], limit: int) -> None:
    count = np.bincount(predictions.sample, minlength=len(tokens))
    for sample in np.flatnonzero(count > limit):
        raise crowded(f"Sample {tokens[sample]!r}", count[sample], limit)


def _require_sizes(matches: Matches) -> None:
    """The devkit divides by the volume of every match, at each threshold; who matches nothing may have any size."""
    for gt_of in matches.gt_of.values():
        hits = np.flatnonzero(gt_of >= 0)
        size, true_size = matches.all_predictions.size_wlh[matches.rows[hits]], matches.gt.size_wlh[gt_of[hits]]
        flat = np.flatnonzero((size <= 0).any(axis=1) | (true_size <= 0).any(axis=1))
        if len(flat):
            row = flat[0]
            raise SubmissionError(
                f"Sample {matches.truth.tokens[matches.sample[hits[row]]]!r} has a match of a predicted box of size "
                f"{size[row].tolist()} with a true one of {true_size[row].tolist()} m (w, l, h): every side must be "
                "longer than 0, so correct the size."
            )


def _listed(what: str, tokens: list[str]) -> str:
    shown = ", ".join(map(repr, tokens[:3])) + (", ..." if len(tokens) > 3 else "")
    return f"{len(tokens)} {what}" + (f" ({shown})" if tokens else "")
