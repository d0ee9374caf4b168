"""`aqr-eval validate`: whether a submission is one, and covers a split."""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console

from aqr_eval.evaluation import align_samples
from aqr_eval.inputs import add_submission_arguments, add_truth_arguments, asks_for_truth, load_truth, named_submissions
from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES, attributes_of
from aqr_eval.submission import Submission, load_submission

_UNIT_TOLERANCE = 1e-2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_submission_arguments(parser)
    add_truth_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Read, check, and say what is odd though allowed."""
    truth = load_truth(args) if asks_for_truth(args) else None
    console = Console()
    for path in named_submissions(args).values():
        submission = load_submission(path)
        checked = "format"
        if truth is not None:
            align_samples(truth, submission)
            checked = f"format and samples of {truth.name}"
        content = f"{len(submission.tokens)} samples, {len(submission.boxes)} boxes"
        console.print(f"{path} is valid: {content}; checked {checked}.", highlight=False, soft_wrap=True)
        for oddity in oddities(submission):
            console.print(f"  Note: {oddity}", highlight=False, soft_wrap=True, markup=False)
    return 0


def oddities(submission: Submission) -> list[str]:
    """What the metric takes without a word and nobody means."""
    boxes = submission.boxes
    foreign = np.array(
        [[name not in attributes_of(label) for name in (*ATTRIBUTES, "")] for label in DETECTION_CLASSES]
    )
    found = {
        "a rotation whose length is not 1": np.abs(np.linalg.norm(boxes.rotation_wxyz, axis=1) - 1) > _UNIT_TOLERANCE,
        "a side that is not longer than 0 m": (boxes.size_wlh <= 0).any(axis=1),
        "a score outside 0 to 1": (boxes.score < 0) | (boxes.score > 1),
        "an attribute that its class does not have": foreign[boxes.label, boxes.attribute],
        "num_pts = 0, so that it is not scored": boxes.num_pts == 0,
    }
    return [
        f"{mask.sum()} boxes have {what}, the first in sample {submission.tokens[boxes.sample[mask.argmax()]]!r}."
        for what, mask in found.items()
        if mask.any()
    ]
