"""From a ground truth and submissions to a finished page, and to Markdown and PNG files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aqr_eval.analysis.bootstrap import DRAWS
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report.breakdown import breakdown_part
from aqr_eval.report.calibration import calibration_part
from aqr_eval.report.colors import SUBMISSION_COLORS
from aqr_eval.report.curves import precision_recall, training
from aqr_eval.report.errors import error_part
from aqr_eval.report.findings import Findings, find_out
from aqr_eval.report.frames import FrameRequest, frame_part
from aqr_eval.report.intervals import interval_part
from aqr_eval.report.page import assemble
from aqr_eval.report.parts import Part, to_markdown
from aqr_eval.report.pictures import gallery, picture_uri
from aqr_eval.report.png import save_png
from aqr_eval.report.robustness import robustness_part
from aqr_eval.report.scalars import read_scalars
from aqr_eval.report.summary import class_part, summary_part
from aqr_eval.report.weights import weight_part
from aqr_eval.report.weights_file import read_weights
from aqr_eval.robustness import load_run
from aqr_eval.whole_files import check_file, check_folder, write_text

_CURVES_LEAD = "Each curve ends at the largest recall that the predictions reach; the number is the AP of the class."
_TRAINING_LEAD = "Values over the optimiser step; a noisy series is drawn pale, with its moving average on top."
_NO_FRAMES = "No frames: images and points are read with the tables, and the ground truth came from a file of its own."


def build_report(
    truth: GroundTruth,
    submissions: Mapping[str, str | Path],
    *,
    out: str | Path,
    tables: NuScenesTables | None = None,
    scalars: Mapping[str, str | Path] | None = None,
    figures: Mapping[str, str | Path] | None = None,
    robustness: Mapping[str, str | Path] | None = None,
    weights: Mapping[str, str | Path] | None = None,
    title: str = "3D detection on nuScenes",
    request: FrameRequest | None = None,
    draws: int = DRAWS,
    workers: int = 1,
    markdown: str | Path | None = None,
    png: str | Path | None = None,
) -> list[Path]:
    """Score submissions and write one self-contained HTML page about them.

    Args:
        truth: of the split that the submissions cover.
        submissions: name -> results file; the first is the reference of the differences.
        out: the HTML file; written under a temporary name and renamed, as all files are.
        tables: where images and points are found; None for a page without frames, which says so.
        scalars: name -> scalars.jsonl of a training run; a submission's name gives the run its colour.
        figures: caption -> PNG or JPEG file to show on the page.
        robustness: name -> summary.json of `aqr robustness`, or its folder; colours as of `scalars`.
        weights: name -> weights.json of `aqr analyze-weights`.
        title: heading of the page.
        request: which frames to show; the default of `FrameRequest` unless given.
        draws: of scenes for the confidence intervals; 0 for none.
        workers: processes that share the draws.
        markdown: also write the numbers here, as Markdown.
        png: also write the charts into this folder, as PNG.

    Returns:
        The paths written, the page first.

    Raises:
        AqrError: no or too many names, or a number out of range.
        DataError: images, points, logs, summaries or figures are missing or broken, or a token is not in the split.
        SubmissionError: a results file breaks the format or does not cover the split.
    """
    request = FrameRequest() if request is None else request
    names = list(dict.fromkeys([*submissions, *(scalars or {}), *(robustness or {})]))
    _check_names(submissions, names)
    check_file(out)
    check_file(markdown)
    check_folder(png, "PNG files")
    extra_parts = _extra_parts(names, scalars or {}, robustness or {}, weights or {}, figures or {})
    findings = find_out(truth, submissions, draws=draws, workers=workers)
    parts = _number_parts(findings, [_NO_FRAMES] if request.shows_any and tables is None else [])
    parts += extra_parts
    if request.shows_any and tables is not None:
        parts.append(frame_part(request, tables, findings))
    facts = (truth.name, f"{len(truth.tokens):,} samples")
    written = [write_text(out, assemble(title, facts, parts, names))]
    if markdown is not None:
        written.append(write_text(markdown, to_markdown(title, facts, parts)))
    if png is not None:
        written += [save_png(figure, part.heading, Path(png)) for part in parts for figure in part.figures]
    return written


def _number_parts(findings: Findings, left_out: Sequence[str]) -> list[Part]:
    """What follows from the submissions and the ground truth alone, below what else is left out."""
    parts = [
        summary_part(findings.metrics, [*findings.left_out, *left_out]),
        class_part(findings.metrics),
    ]
    if findings.intervals:
        parts.append(interval_part(findings.intervals, findings.differences))
    parts += [
        Part("Precision over recall", _CURVES_LEAD, precision_recall(findings.metrics)),
        breakdown_part(findings.breakdowns),
        error_part(findings.errors),
    ]
    if findings.calibrations:
        parts.append(calibration_part(findings.calibrations, list(findings.metrics)))
    return parts


def _extra_parts(
    names: Sequence[str],
    scalars: Mapping[str, str | Path],
    robustness: Mapping[str, str | Path],
    weights: Mapping[str, str | Path],
    figures: Mapping[str, str | Path],
) -> list[Part]:
    """What was handed in beside the submissions."""
    parts = []
    if robustness:
        parts.append(robustness_part({name: load_run(path) for name, path in robustness.items()}, names))
    if scalars:
        logs = {name: read_scalars(Path(path)) for name, path in scalars.items()}
        parts.append(Part("Training", _TRAINING_LEAD, [training(logs, {run: names.index(run) for run in logs})]))
    if weights:
        parts.append(weight_part({name: read_weights(Path(path)) for name, path in weights.items()}))
    if figures:
        pictures = {caption: picture_uri(Path(path)) for caption, path in figures.items()}
        parts.append(Part("Pictures", "Click a picture to enlarge it.", html=gallery(pictures)))
    return parts


def _check_names(submissions: Mapping[str, str | Path], names: Sequence[str]) -> None:
    if not submissions:
        raise AqrError("A report needs at least one submission: name a results file.")
    if len(names) > len(SUBMISSION_COLORS):
        raise AqrError(
            f"{len(names)} submissions and runs are more than the {len(SUBMISSION_COLORS)} colours that can be told "
            "apart: write several reports."
        )
