from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aqr_eval import Submission
from aqr_eval.boxes import Boxes
from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.matches import Matches
from aqr_eval.nuscenes.classes import DETECTION_CLASSES


@pytest.fixture(scope="session")
def make_matches(make_boxes, make_gt):
    """Matches of cars (or `detection_name`) on a line: (x, score) per prediction, x per true box, one sample each."""

    def make(
        true: dict[str, list], predicted: dict[str, list], tokens: tuple[str, ...] = ("a",), **options: object
    ) -> Matches:
        for columns in (true, predicted):
            columns["translation"] = [[float(x), 0.0, 1.0] for x in columns.pop("x")]
            columns.setdefault("sample", [0] * len(columns["translation"]))
        true.setdefault("num_pts", [5] * len(true["sample"]))
        return find_matches(make_gt(tokens, true, **options), Submission(tokens, make_boxes(predicted), {}))

    return make


@pytest.fixture(scope="session")
def crowd(make_gt, make_boxes):
    """A truth of 12 samples in 4 scenes with all classes, and a noisy submission of distinct scores."""
    rng = np.random.default_rng(3)
    samples, per_sample = 12, 40
    count = samples * per_sample

    def boxes(score: np.ndarray, num_pts: int) -> Boxes:
        columns = {
            "sample": np.repeat(np.arange(samples), per_sample).tolist(),
            "detection_name": rng.choice(DETECTION_CLASSES, count).tolist(),
            "translation": rng.uniform(-30, 30, (count, 3)).tolist(),
            "size": rng.uniform(0.5, 5, (count, 3)).tolist(),
            "rotation": rng.normal(size=(count, 4)).tolist(),
            "velocity": [v if rng.random() < 0.8 else None for v in rng.normal(0, 3, (count, 2)).tolist()],
            "detection_score": score.tolist(),
            "num_pts": [num_pts] * count,
        }
        return make_boxes(columns)

    true = boxes(np.full(count, -1.0), 5)
    true = replace(true, attribute=rng.integers(-1, 8, count), num_pts=rng.integers(0, 150, count))
    guesses = boxes(rng.permutation(count) / count, -1)
    near = rng.random(count) < 0.7
    place = true.translation + rng.normal(size=(count, 3))
    predicted = replace(
        guesses,
        label=np.where(near, true.label, guesses.label),
        translation=np.where(near[:, None], place, guesses.translation),
        attribute=rng.integers(-1, 8, count),
    )
    tokens = tuple(f"t{number}" for number in range(samples))
    truth = GroundTruth(
        tokens,
        np.zeros((samples, 3)),
        true,
        make_boxes({"sample": [], "translation": []}),
        scenes=tuple(f"scene-{number // 3}" for number in range(samples)),
        descriptions={
            "scene-0": "Night, rain",
            "scene-1": "Parked cars",
            "scene-2": "After RAIN",
            "scene-3": "Terrain",
        },
        visibility=rng.integers(0, 5, count).astype(np.int8),
    )
    return truth, Submission(tokens, predicted, {})
