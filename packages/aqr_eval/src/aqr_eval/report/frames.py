"""The frames on the page: the worst ones and some spread over the scenes, under one bar that switches layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from aqr_eval.boxes import Boxes
from aqr_eval.matches import Matches
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.errors import AqrError, DataError
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report.boxes import DrawnBoxes, Layer
from aqr_eval.report.findings import Findings
from aqr_eval.report.mistakes import Mistakes, find_mistakes, worst_samples
from aqr_eval.report.page import FrameGroup, scene_viewer
from aqr_eval.report.parts import Part
from aqr_eval.report.scene import find_keyframe, scene_block, spread

_FRAMES_LEAD = (
    "Boxes that the metric counts: inside the range of their class, true ones with at least one LiDAR or radar point, "
    "predicted ones with a score of at least {threshold:g}. A true box that none of them matches within 2 m is "
    "missed, one of them that matches none is a false positive. Click an image to enlarge it; rest on a box to read "
    "it."
)
_WORST_LEAD = (
    "What costs {name} most: the worst frame of every scene first. Of its mistakes, at scores of at least "
    "{threshold:g} and within 2 m, missed true boxes count 1 and false positives their score, each divided by the "
    "true boxes of the class in the split; the sum is the cost."
)
_SAMPLES_LEAD = "Whatever was found in them."
_NO_MISTAKE = "None is a worst one: at scores of at least {threshold:g}, {name} misses nothing and finds nothing false."
_CHOSEN_LEAD = "Asked for by their tokens."


@dataclass(frozen=True)
class FrameRequest:
    """Which frames to show, and what in them.

    Attributes:
        worst: at most so many of those that cost the best submission most.
        samples: how many more, spread over the scenes, or their tokens.
        threshold: pictures leave out predictions that score less; the metric sees them all.

    Raises:
        AqrError: a number is out of range.
    """

    worst: int = 4
    samples: int | Sequence[str] = 2
    threshold: float = 0.2

    def __post_init__(self) -> None:
        for name, count in (("worst", self.worst), ("samples", self.samples)):
            if isinstance(count, int) and count < 0:
                raise AqrError(f"{name} = {count} is negative: give 0 for no such frames.")
        if not 0 <= self.threshold <= 1:
            raise AqrError(f"score_threshold = {self.threshold} is no confidence: give a number from 0 to 1.")

    @property
    def shows_any(self) -> bool:
        """Whether any frame is asked for."""
        return bool(self.worst or self.samples)


def frame_part(request: FrameRequest, tables: NuScenesTables, findings: Findings) -> Part:
    """The frames asked for.

    Args:
        request: which frames.
        tables: of the dataset, for images and points.
        findings: the submissions; the worst frames are those of the best one, which is shown first.

    Raises:
        DataError: a token is not in the split, or an image or point file is missing or damaged.
    """
    names = list(findings.metrics)
    groups = _groups(request, tables, findings.matches, findings.best)
    if not groups:
        return Part("Frames", _NO_MISTAKE.format(name=findings.best, threshold=request.threshold))
    viewer = scene_viewer(groups, names, names.index(findings.best))
    return Part("Frames", _FRAMES_LEAD.format(threshold=request.threshold), html=viewer)


def _groups(
    request: FrameRequest, tables: NuScenesTables, matches: Mapping[str, Matches], best: str
) -> list[FrameGroup]:
    """The groups with at least one frame."""
    truth = matches[best].truth
    tokens = truth.tokens
    mistakes = {name: find_mistakes(one, request.threshold) for name, one in matches.items()}
    worst = [tokens[sample] for sample in worst_samples(mistakes[best], truth.scenes, request.worst)]
    if isinstance(request.samples, int):
        others = [token for token in _in_scenes(tables, tokens) if token not in worst]
        groups = [("Spread over the scenes", _SAMPLES_LEAD, spread(others, request.samples))]
    else:
        groups = [("Chosen", _CHOSEN_LEAD, list(request.samples))]
    lead = _WORST_LEAD.format(name=best, threshold=request.threshold)
    groups.insert(0, ("Worst frames", lead, worst))
    found, number = [], 0
    for heading, text, chosen in groups:
        blocks = [_block(number + i, token, tables, matches, mistakes, request) for i, token in enumerate(chosen)]
        number += len(blocks)
        if blocks:
            found.append(FrameGroup(heading, text, blocks))
    return found


def _in_scenes(tables: NuScenesTables, tokens: Sequence[str]) -> list[str]:
    """The tokens, scene by scene and in the order of time."""
    absent = next((token for token in tokens if token not in tables.sample_index), None)
    if absent is not None:
        raise DataError(
            f"Sample {absent!r} of the ground truth is not in {tables.folder}: give the dataroot and version that the "
            "ground truth was made from, or show no frames (--worst 0 --samples 0)."
        )
    scenes = dict.fromkeys(tables.scene_names[tables.sample_scene[tables.sample_index[token]]] for token in tokens)
    known = set(tokens)
    ordered = (tables.sample_tokens[sample] for sample in tables.samples_of(list(scenes)))
    return [token for token in ordered if token in known]


def _block(
    number: int,
    token: str,
    tables: NuScenesTables,
    matches: Mapping[str, Matches],
    mistakes: Mapping[str, Mistakes],
    request: FrameRequest,
) -> str:
    """One frame, with exactly the boxes that the metric counts, weak predictions apart."""
    frame = find_keyframe(tables, token)
    first = next(iter(matches.values()))
    if token not in first.truth.tokens:
        raise DataError(f"Sample {token!r} of {frame.scene_name} is not in the split: choose one of its samples.")
    sample = first.truth.tokens.index(token)
    truth = DrawnBoxes.of(first.gt.select(first.gt.sample == sample), true=True)
    layers = {name: Layer.of_sample(one, mistakes[name], sample, request.threshold) for name, one in matches.items()}
    notes = [
        f'<p class="note of-{i}">{escape(describe_mistakes(one, mistakes[name], sample))}</p>'
        for i, (name, one) in enumerate(matches.items())
    ]
    return scene_block(number, frame, tables.dataroot, truth, layers, "".join(notes))


def describe_mistakes(matches: Matches, mistakes: Mistakes, sample: int) -> str:
    """One line on a frame: what is missed, what is falsely found, and what both cost."""
    missed = matches.gt.select(mistakes.missed & (matches.gt.sample == sample))
    wrong = matches.predictions.select(mistakes.false_positive & (matches.sample == sample))
    true_boxes = int(np.count_nonzero(matches.gt.sample == sample))
    surest = f", the surest with {wrong.score.max():.2f}" if len(wrong) else ""
    return (
        f"Missed {len(missed)} of {true_boxes} true boxes{_listed(missed)}; "
        f"{len(wrong)} false positives{_listed(wrong)}{surest}. Cost {mistakes.cost[sample]:.3f}."
    )


def _listed(boxes: Boxes) -> str:
    """Counts per class in brackets, such as (2 car, 1 bus), the most frequent first; '' for none."""
    counts = Counter(DETECTION_CLASSES[label].replace("_", " ") for label in boxes.label.tolist())
    return f" ({', '.join(f'{count} {name}' for name, count in counts.most_common())})" if counts else ""
