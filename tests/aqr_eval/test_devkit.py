"""The installed, unmodified devkit as oracle, from the same files."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest

from aqr_eval import evaluate, load_ground_truth, load_submission
from aqr_eval.nuscenes.classes import DETECTION_CLASSES, default_attribute

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def devkit_scores():
    try:
        from nuscenes import NuScenes
        from nuscenes.eval.detection.config import config_factory
        from nuscenes.eval.detection.evaluate import DetectionEval
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the nuScenes devkit is not installed ({error})")

    def score(dataroot, split, path, output):
        nusc = NuScenes("v1.0-mini", str(dataroot), verbose=False)
        run = DetectionEval(nusc, config_factory("detection_cvpr_2019"), str(path), split, str(output), verbose=False)
        return run.evaluate()[0].serialize()

    return score


def _noisy_submission(gt, path, seed, extra_samples=()):
    """Four of five boxes, moved and doubled, and false ones; scores of two decimals, so that many tie."""
    rng = np.random.default_rng(seed)
    results = {token: [] for token in (*gt.tokens, *extra_samples)}
    boxes = gt.boxes
    for row in range(len(boxes)):
        for _ in range(int(rng.integers(0, 3))):
            label = int(boxes.label[row]) if rng.random() < 0.9 else int(rng.integers(10))
            velocity = np.nan_to_num(boxes.velocity[row]) + rng.normal(size=2) * 0.3
            results[gt.tokens[boxes.sample[row]]].append(
                {
                    "translation": (boxes.translation[row] + rng.normal(size=3) * 0.8).tolist(),
                    "size": (boxes.size_wlh[row] * np.exp(rng.normal(size=3) * 0.2)).tolist(),
                    "rotation": (boxes.rotation_wxyz[row] + rng.normal(size=4) * 0.1).tolist(),
                    "velocity": velocity.tolist() if rng.random() < 0.95 else [math.nan, math.nan],
                    "detection_name": DETECTION_CLASSES[label],
                    "detection_score": round(float(rng.random()), 2),
                    "attribute_name": default_attribute(DETECTION_CLASSES[label], float(np.hypot(*velocity))),
                }
            )
    whole = {token: [{"sample_token": token, **box} for box in boxes[:500]] for token, boxes in results.items()}
    path.write_text(json.dumps({"meta": {}, "results": whole}))
    return path


def _assert_equal(metrics, expected):
    for name, aps in expected["label_aps"].items():
        for threshold, ap in aps.items():
            assert metrics.label_aps[name][threshold] == pytest.approx(ap, abs=TOLERANCE), (name, threshold)
    for name, errors in expected["label_tp_errors"].items():
        for error, value in errors.items():
            assert metrics.label_tp_errors[name][error] == pytest.approx(value, abs=TOLERANCE, nan_ok=True), (
                name,
                error,
            )
    for field in ("mean_ap", "nd_score"):
        assert getattr(metrics, field) == pytest.approx(expected[field], abs=TOLERANCE)
    for field in ("tp_errors", "tp_scores", "mean_dist_aps"):
        assert getattr(metrics, field) == pytest.approx(dict(expected[field]), abs=TOLERANCE)


@pytest.mark.parametrize("split", ["mini_val", "mine"])
def test_tiny_dataset(devkit_scores, tiny_dataroot, tmp_path, split):
    (tiny_dataroot / "v1.0-mini" / "splits.json").write_text(json.dumps({"mine": ["scene-0103"]}))
    gt = load_ground_truth(tiny_dataroot, "v1.0-mini", split)
    path = _noisy_submission(gt, tmp_path / "s.json", 3, extra_samples=("elsewhere",) if split == "mine" else ())
    expected = devkit_scores(tiny_dataroot, split, path, tmp_path / "out")
    _assert_equal(evaluate(gt, load_submission(path)), expected)
    assert expected["mean_ap"] > 0


@pytest.mark.parametrize("split", ["mini_val", "both"])
def test_real_tables(devkit_scores, real_dataroot, tmp_path, split):
    gt = load_ground_truth(real_dataroot, "v1.0-mini", split)
    path = _noisy_submission(gt, tmp_path / "s.json", 11)
    metrics = evaluate(gt, load_submission(path))
    _assert_equal(metrics, devkit_scores(real_dataroot, split, path, tmp_path / "out"))
    assert 0.1 < metrics.mean_ap < 0.9


def test_a_real_detector(devkit_scores, real_dataroot, shared_dir, tmp_path):
    """Scores within 0.06 of each other, 81 samples of which the tables hold 41."""
    path = shared_dir / "data/vis4d/nuscenes_test/cc_3dt_pure_det.json"
    metrics = evaluate(load_ground_truth(real_dataroot, "v1.0-mini", "one"), load_submission(path))
    _assert_equal(metrics, devkit_scores(real_dataroot, "one", path, tmp_path / "out"))
    assert metrics.label_aps["car"][4.0] > 0.3
