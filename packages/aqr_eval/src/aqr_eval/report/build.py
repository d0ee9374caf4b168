"""From files on disk to one finished page: load, score, draw, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report.colors import SUBMISSION_COLORS
from aqr_eval.report.curves import precision_recall, training
from aqr_eval.report.frames import FrameRequest, frame_groups
from aqr_eval.report.page import Section, assemble, scene_viewer
from aqr_eval.report.pictures import gallery, picture_uri
from aqr_eval.report.scalars import read_scalars
from aqr_eval.report.tables import class_table, headline_table
from aqr_eval.submission import load_submission
from aqr_eval.whole_files import replacing

_CLASSES_LEAD = (
    "AP is the mean over the four distances within which a prediction may match a true box. The errors are those of "
    "the matches within 2 m: translation (ATE, m), scale (ASE, 1 − IoU), orientation (AOE, rad), velocity (AVE, m/s) "
    "and attribute (AAE, 1 − accuracy); a dash marks what the benchmark does not define."
)
_CURVES_LEAD = "Each curve ends at the largest recall that the predictions reach; the number is the AP of the class."
_TRAINING_LEAD = "Values over the optimiser step; a noisy series is drawn pale, with its moving average on top."
_PICTURES_LEAD = "Click a picture to enlarge it."
_FRAMES_LEAD = (
    "Boxes that the metric counts: inside the range of their class, true ones with at least one LiDAR or radar point, "
    "predicted ones with a score of at least {threshold:g}. A true box that none of them matches within 2 m is missed, "
    "one of them that matches none is a false positive. Click an image to enlarge it; rest on a box to read it."
)


def build_report(
    *,
    dataroot: str | Path,
    version: str,
    split: str,
    submissions: Mapping[str, str | Path],
    out: str | Path,
    scalars: Mapping[str, str | Path] | None = None,
    figures: Mapping[str, str | Path] | None = None,
    title: str = "3D detection on nuScenes",
    worst: int = 4,
    samples: int | Sequence[str] = 2,
    score_threshold: float = 0.2,
) -> Path:
    """Score submissions and write one self-contained HTML page about them.

    Args:
        dataroot: folder that holds `<version>/`, `samples/` and `sweeps/`.
        version: e.g. "v1.0-mini".
        split: official or custom split that the submissions cover.
        submissions: name -> results JSON; the first is the reference of the differences.
        out: the HTML file; written under a temporary name and renamed.
        scalars: name -> scalars.jsonl of a training run; a submission's name gives the run its colour.
        figures: caption -> PNG or JPEG file to show on the page.
        title: heading of the page.
        worst: at most so many of the frames that cost the best submission most (see `mistakes`).
        samples: how many frames more, spread over the scenes, or their tokens.
        score_threshold: pictures leave out predictions that score less; the metric sees them all.

    Returns:
        The path written.

    Raises:
        AqrError: no or too many names, or a threshold or count out of range.
        DataError: tables, images, points, logs or figures are missing or broken, or a token is not in the split.
        SubmissionError: a results file breaks the format or does not cover the split.
    """
    scalars = scalars or {}
    names = list(dict.fromkeys([*submissions, *scalars]))
    _check_names(submissions, names)
    request = FrameRequest(worst, samples, score_threshold)
    logs = {name: read_scalars(Path(path)) for name, path in scalars.items()}
    pictures = {caption: picture_uri(Path(path)) for caption, path in (figures or {}).items()}
    truth = load_ground_truth(dataroot, version, split)
    matches = {name: find_matches(truth, load_submission(path)) for name, path in submissions.items()}
    metrics = {name: DetectionMetrics.from_matches(one) for name, one in matches.items()}
    sections = [
        Section("", "", headline_table(metrics)),
        Section("Classes", _CLASSES_LEAD, class_table(metrics)),
        Section("Precision over recall", _CURVES_LEAD, precision_recall(metrics)),
    ]
    if logs:
        colors = {run: names.index(run) for run in logs}
        sections.append(Section("Training", _TRAINING_LEAD, training(logs, colors)))
    if pictures:
        sections.append(Section("Pictures", _PICTURES_LEAD, gallery(pictures)))
    if request:
        best = max(metrics, key=lambda name: metrics[name].nd_score)
        groups = frame_groups(request, NuScenesTables(dataroot, version), matches, best)
        viewer = scene_viewer(groups, list(submissions), list(submissions).index(best))
        sections.append(Section("Frames", _FRAMES_LEAD.format(threshold=score_threshold), viewer))
    facts = (version, split, f"{len(truth.tokens):,} samples")
    with replacing(out) as temporary:
        temporary.write_text(assemble(title, facts, sections, names), encoding="utf-8")
    return Path(out)


def _check_names(submissions: Mapping[str, str | Path], names: Sequence[str]) -> None:
    if not submissions:
        raise AqrError("A report needs at least one submission: name a results file.")
    if len(names) > len(SUBMISSION_COLORS):
        raise AqrError(
            f"{len(names)} submissions and runs are more than the {len(SUBMISSION_COLORS)} colours that can be told "
            "apart: write several reports."
        )
