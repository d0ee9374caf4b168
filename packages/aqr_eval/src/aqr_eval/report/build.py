"""From files on disk to one finished page: load, score, draw, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aqr_eval.evaluation import align_samples, evaluate
from aqr_eval.filters import counted_rows
from aqr_eval.ground_truth import GroundTruth, load_ground_truth
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.errors import AqrError, DataError
from aqr_eval.nuscenes.splits import scenes_of
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report.boxes import DrawnBoxes
from aqr_eval.report.colors import SUBMISSION_COLORS
from aqr_eval.report.curves import precision_recall, training
from aqr_eval.report.page import Section, assemble, scene_viewer
from aqr_eval.report.pictures import gallery, picture_uri
from aqr_eval.report.scalars import read_scalars
from aqr_eval.report.scene import choose_samples, find_keyframe, scene_block
from aqr_eval.report.tables import class_table, headline_table
from aqr_eval.submission import Submission, load_submission
from aqr_eval.whole_files import replacing

_CLASSES_LEAD = (
    "AP is the mean over the four distances within which a prediction may match a true box. The errors are those of "
    "the matches within 2 m: translation (ATE, m), scale (ASE, 1 − IoU), orientation (AOE, rad), velocity (AVE, m/s) "
    "and attribute (AAE, 1 − accuracy); a dash marks what the benchmark does not define."
)
_CURVES_LEAD = "Each curve ends at the largest recall that the predictions reach; the number is the AP of the class."
_TRAINING_LEAD = "Values over the optimiser step; a noisy series is drawn pale, with its moving average on top."
_PICTURES_LEAD = "Click a picture to enlarge it."
_SAMPLES_LEAD = (
    "Boxes that the metric counts: inside the range of their class, true ones with at least one LiDAR or radar point, "
    "predicted ones with a score of at least {threshold:g}. Click an image to enlarge it; rest on a box to read it."
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
    samples: int | Sequence[str] = 4,
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
        samples: how many samples to picture, spread over the scenes, or their tokens.
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
    _check_arguments(submissions, names, samples, score_threshold)
    logs = {name: read_scalars(Path(path)) for name, path in scalars.items()}
    pictures = {caption: picture_uri(Path(path)) for caption, path in (figures or {}).items()}
    truth = load_ground_truth(dataroot, version, split)
    loaded = {name: load_submission(path) for name, path in submissions.items()}
    metrics = {name: evaluate(truth, submission) for name, submission in loaded.items()}
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
    if samples:
        tables = NuScenesTables(dataroot, version)
        scenes = [scene for scene in scenes_of(split, version, dataroot) if scene in tables.scene_names]
        tokens = choose_samples(tables, scenes, samples) if isinstance(samples, int) else samples
        blocks = _sample_blocks(tables, tokens, truth, loaded, metrics, score_threshold)
        best = max(enumerate(metrics.values()), key=lambda item: item[1].nd_score)[0]
        viewer = scene_viewer(blocks, list(submissions), best)
        sections.append(Section("Samples", _SAMPLES_LEAD.format(threshold=score_threshold), viewer))
    facts = (version, split, f"{len(truth.tokens):,} samples")
    with replacing(out) as temporary:
        temporary.write_text(assemble(title, facts, sections, names), encoding="utf-8")
    return Path(out)


def _check_arguments(
    submissions: Mapping[str, str | Path], names: Sequence[str], samples: int | Sequence[str], score_threshold: float
) -> None:
    if not submissions:
        raise AqrError("A report needs at least one submission: name a results file.")
    if len(names) > len(SUBMISSION_COLORS):
        raise AqrError(
            f"{len(names)} submissions and runs are more than the {len(SUBMISSION_COLORS)} colours that can be told "
            "apart: write several reports."
        )
    if isinstance(samples, int) and samples < 0:
        raise AqrError(f"samples = {samples} is negative: give 0 for no pictures.")
    if not 0 <= score_threshold <= 1:
        raise AqrError(f"score_threshold = {score_threshold} is no confidence: give a number from 0 to 1.")


def _sample_blocks(
    tables: NuScenesTables,
    tokens: Sequence[str],
    truth: GroundTruth,
    submissions: Mapping[str, Submission],
    metrics: Mapping[str, DetectionMetrics],
    threshold: float,
) -> list[str]:
    """One block per token, with exactly the boxes that the metric counts, weak predictions apart."""
    config = next(iter(metrics.values())).config
    context = (truth.ego_translation, truth.bicycle_racks, config)
    true_boxes = truth.boxes.select(counted_rows(truth.boxes, *context))
    aligned = {name: align_samples(truth, one) for name, one in submissions.items()}
    predicted = {name: boxes.select(counted_rows(boxes, *context)) for name, boxes in aligned.items()}
    position = {token: index for index, token in enumerate(truth.tokens)}
    blocks = []
    for number, token in enumerate(tokens):
        frame = find_keyframe(tables, token)
        if token not in position:
            raise DataError(f"Sample {token!r} of {frame.scene_name} is not in the split: choose one of its samples.")
        sample = position[token]
        layers = {
            name: DrawnBoxes.of_sample(boxes.select(boxes.score >= threshold), sample)
            for name, boxes in predicted.items()
        }
        drawn_truth = DrawnBoxes.of_sample(true_boxes, sample, true=True)
        blocks.append(scene_block(number, frame, tables.dataroot, drawn_truth, layers))
    return blocks
