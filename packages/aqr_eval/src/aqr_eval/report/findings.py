"""All that is found out about the submissions, once: what the page, the Markdown and the PNG files are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aqr_eval.analysis import Breakdown, Calibration, ErrorAnalysis, analyze_errors, break_down, calibrate
from aqr_eval.analysis.bootstrap import Difference, Intervals, Resampled, draw_scenes, resample
from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.matches import Matches
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.errors import DataError, SubmissionError
from aqr_eval.submission import load_submission


@dataclass(frozen=True, eq=False)
class Findings:
    """Every mapping goes from the name of a submission, in the order of the page.

    Attributes:
        matches, metrics, breakdowns, errors: of every submission.
        intervals: empty where there are none.
        differences: submission -> quantity -> to the first submission; the first is left out.
        calibrations: without submissions whose scores are no probabilities.
        left_out: what could not be found out, and why: sentences for the reader.
    """

    matches: Mapping[str, Matches]
    metrics: Mapping[str, DetectionMetrics]
    breakdowns: Mapping[str, Breakdown]
    errors: Mapping[str, ErrorAnalysis]
    intervals: Mapping[str, Intervals]
    differences: Mapping[str, Mapping[str, Difference]]
    calibrations: Mapping[str, Calibration]
    left_out: tuple[str, ...]

    @property
    def truth(self) -> GroundTruth:
        """What all of them were scored against."""
        return next(iter(self.matches.values())).truth

    @property
    def best(self) -> str:
        """The submission with the highest NDS."""
        return max(self.metrics, key=lambda name: self.metrics[name].nd_score)


def find_out(truth: GroundTruth, submissions: Mapping[str, str | Path], *, draws: int, workers: int) -> Findings:
    """Scores and analyses every submission.

    Args:
        truth: of the split that all of them cover.
        submissions: name -> results file.
        draws: of scenes, for the intervals; 0 for no intervals.
        workers: processes that share the draws.

    Raises:
        DataError: a negative number of draws.
        SubmissionError: a results file breaks the format or does not cover the split.
    """
    matches = {name: find_matches(truth, load_submission(path)) for name, path in submissions.items()}
    left_out = []
    calibrations = {}
    for name, one in matches.items():
        try:
            calibrations[name] = calibrate(one)
        except SubmissionError as error:
            left_out.append(f"No calibration of {name}. {error}")
    drawn: dict[str, Resampled] = {}
    try:
        weights = draw_scenes(truth, draws) if draws else None
    except DataError as error:
        if draws < 0:
            raise
        left_out.append(f"No confidence intervals. {error}")
    else:
        if weights is not None:
            drawn = {name: resample(one, weights, workers=workers) for name, one in matches.items()}
    return Findings(
        matches=matches,
        metrics={name: DetectionMetrics.from_matches(one) for name, one in matches.items()},
        breakdowns={name: break_down(one) for name, one in matches.items()},
        errors={name: analyze_errors(one) for name, one in matches.items()},
        intervals={name: one.intervals() for name, one in drawn.items()},
        differences=_differences(drawn),
        calibrations=calibrations,
        left_out=tuple(left_out),
    )


def _differences(drawn: Mapping[str, Resampled]) -> dict[str, dict[str, Difference]]:
    """Every submission but the first -> quantity -> its difference to the first."""
    first = next(iter(drawn), "")
    return {
        name: {quantity: one.difference(quantity, drawn[first]) for quantity in one.point}
        for name, one in drawn.items()
        if name != first
    }
