"""Random problems through the devkit and through us."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aqr_eval import GroundTruth, Submission, evaluate, load_submission, write_submission
from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

SIDE = Path(__file__).resolve().parents[2] / "packages" / "aqr_eval" / "benchmarks" / "devkit_side.py"
TOKENS = tuple("abc")


@pytest.fixture(scope="module")
def devkit():
    """`Timed` of the benchmark's devkit side: the unmodified devkit on a ground truth and a results file."""
    spec = importlib.util.spec_from_file_location("devkit_side", SIDE)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the nuScenes devkit is not installed ({error})")
    sys.modules["devkit_side"] = module
    return module.Timed


def _random_boxes(rng, count):
    """Boxes of few classes close together, some beyond the ranges, some without velocity, attribute or points."""
    velocity = rng.normal(0, 2, (count, 2))
    velocity[rng.random(count) < 0.2] = math.nan
    return Boxes(
        sample=np.sort(rng.integers(0, len(TOKENS), count)),
        label=rng.choice([0, 0, 5, 7, 8, 9], count),
        translation=rng.normal(0, 12, (count, 3)),
        size_wlh=rng.uniform(0.3, 4, (count, 3)),
        rotation_wxyz=rng.normal(size=(count, 4)),
        velocity=velocity,
        score=np.full(count, -1.0),
        attribute=rng.integers(-1, 8, count),
        num_pts=rng.integers(0, 4, count),
    )


def _predictions_of(rng, boxes, count):
    """Most of them near a true box, some on top of one another."""
    found = _random_boxes(rng, count)
    source = rng.integers(len(boxes), size=count)
    near = rng.random(count) < 0.8
    place, label, sample = found.translation.copy(), found.label.copy(), found.sample.copy()
    place[near] = boxes.translation[source[near]] + rng.normal(0, 0.7, (near.sum(), 3))
    label[near], sample[near] = boxes.label[source[near]], boxes.sample[source[near]]
    return replace(found, translation=place, label=label, sample=sample, num_pts=np.full(count, -1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.integers(1, 60),
    st.sampled_from([1, 2, 15]),
    st.booleans(),
)
def test_random_problems(devkit, tmp_path, capfd, seed, num_gt, num_predictions, digits, on_a_grid):
    rng = np.random.default_rng(seed)
    boxes, racks = _random_boxes(rng, num_gt), _random_boxes(rng, int(rng.integers(0, 3)))
    found = _predictions_of(rng, boxes, num_predictions)
    if on_a_grid:  # where distances tie and meet the thresholds
        boxes, found = (replace(one, translation=np.round(one.translation * 4) / 4) for one in (boxes, found))
    truth = GroundTruth(TOKENS, rng.normal(0, 3, (3, 3)), boxes, replace(racks, size_wlh=racks.size_wlh * 4))
    order = rng.permutation(3)  # of the samples in the file, which decides between equal scores
    found = replace(
        found, sample=np.argsort(order)[found.sample], score=np.round(rng.random(num_predictions), digits)
    ).select(np.argsort(np.argsort(order)[found.sample], kind="stable"))
    tokens = tuple(TOKENS[index] for index in order)
    path = write_submission(tmp_path / "s.json", Submission(tokens, found, {}))
    expected = devkit(truth, path)
    metrics = evaluate(truth, load_submission(path))
    assert metrics.nd_score == pytest.approx(expected.metrics.nd_score, abs=1e-9)
    assert metrics.mean_ap == pytest.approx(expected.metrics.mean_ap, abs=1e-9)
    for name in DETECTION_CLASSES:
        for threshold in (0.5, 1.0, 2.0, 4.0):
            ours, theirs = metrics.curves[name, threshold], expected.curves[name, threshold]
            for field in ("precision", "confidence", "trans_err", "scale_err", "orient_err", "vel_err", "attr_err"):
                np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), rtol=0, atol=1e-9)
