from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_eval import Submission, evaluate, load_submission
from aqr_eval.boxes import ATTRIBUTE_INDEX, Boxes
from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES, default_attribute
from aqr_eval.nuscenes.errors import AqrError, SubmissionError

TOKENS = ("a", "b", "c")


@pytest.fixture(scope="module")
def gt(make_gt):
    """Two boxes of every class in each of three samples, well apart from each other."""
    rng = np.random.default_rng(7)
    rows = [(sample, name, i) for sample in range(3) for name in DETECTION_CLASSES for i in range(2)]
    return make_gt(
        TOKENS,
        {
            "sample": [sample for sample, _, _ in rows],
            "detection_name": [name for _, name, _ in rows],
            "translation": [
                [DETECTION_CLASSES.index(name) * 5.0 - 20, i * 6.0 + sample, 1.0] for sample, name, i in rows
            ],
            "size": rng.uniform(0.5, 5, (len(rows), 3)).tolist(),
            "rotation": rng.normal(size=(len(rows), 4)).tolist(),
            "velocity": rng.normal(size=(len(rows), 2)).tolist(),
            "attribute_name": [default_attribute(name, i) for _, name, i in rows],
            "num_pts": [5] * len(rows),
        },
    )


def _predict(gt, rng, noise=0.0):
    """Ground truth as predictions with distinct scores."""
    boxes = gt.boxes
    n = len(boxes)
    return Boxes(
        sample=boxes.sample,
        label=boxes.label,
        translation=boxes.translation + rng.normal(size=(n, 3)) * noise,
        size_wlh=boxes.size_wlh * np.exp(rng.normal(size=(n, 3)) * noise / 4),
        rotation_wxyz=boxes.rotation_wxyz + rng.normal(size=(n, 4)) * noise / 4,
        velocity=boxes.velocity + rng.normal(size=(n, 2)) * noise,
        score=rng.permutation(n) / n + 0.01,
        attribute=np.where(rng.random(n) < noise / 2, ATTRIBUTE_INDEX[ATTRIBUTES[0]], boxes.attribute),
        num_pts=np.full(n, -1),
    )


def _numbers(metrics):
    return np.array(
        [
            metrics.nd_score,
            *(ap for aps in metrics.label_aps.values() for ap in aps.values()),
            *(error for errors in metrics.label_tp_errors.values() for error in errors.values()),
        ]
    )


def test_a_perfect_submission_scores_one(gt):
    metrics = evaluate(gt, Submission(TOKENS, _predict(gt, np.random.default_rng(0)), {}))
    assert metrics.nd_score == pytest.approx(1, abs=1e-9)
    assert metrics.mean_ap == pytest.approx(1, abs=1e-9)
    assert max(metrics.tp_errors.values()) < 1e-6
    undefined = {(name, e) for name, errors in metrics.label_tp_errors.items() for e in errors if math.isnan(errors[e])}
    assert undefined == metrics.config.undefined


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(3)), st.floats(0, 2))
def test_order_of_samples_and_boxes_does_not_matter_for_distinct_scores(gt, seed, order, noise):
    rng = np.random.default_rng(seed)
    boxes = _predict(gt, rng, noise)
    expected = _numbers(evaluate(gt, Submission(TOKENS, boxes, {})))
    assert 0 <= expected[0] <= 1 + 1e-9
    place = np.argsort(order)  # sample s moves to place[s]
    shuffled = boxes.with_sample(place[boxes.sample]).select(rng.permutation(len(boxes)))
    actual = _numbers(evaluate(gt, Submission(tuple(TOKENS[s] for s in order), shuffled, {})))
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_worse_boxes_score_less(gt):
    scores = [
        evaluate(gt, Submission(TOKENS, _predict(gt, np.random.default_rng(1), noise), {})).nd_score
        for noise in (0.1, 0.5, 2.0)
    ]
    assert scores[0] > scores[1] > scores[2] > 0


def test_empty_submission_scores_zero(gt):
    nothing = gt.boxes.select(np.zeros(0, dtype=np.int64))
    assert evaluate(gt, Submission(TOKENS, nothing, {})).nd_score == 0


def test_wrong_samples_are_listed(gt):
    boxes = _predict(gt, np.random.default_rng(0))
    with pytest.raises(SubmissionError, match=r"the 3 samples of the split: 1 missing \('c'\), 2 extra \('x', 'y'\)"):
        evaluate(gt, Submission(("a", "b", "x", "y"), boxes, {}))


def test_custom_splits_ignore_extra_samples_and_break_ties_in_the_order_of_the_dataset(make_boxes, make_gt):
    at_origin = {"sample": [0, 1], "translation": [[0.0, 0, 0], [0.0, 0, 0]], "num_pts": [1, 1]}
    # The file lists b (a miss), then x, then a (a hit), all with one score; the later goes first.
    boxes = make_boxes(
        {"sample": [0, 1, 2], "translation": [[9.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0]], "detection_score": [0.5] * 3}
    )
    custom = make_gt(("a", "b"), at_origin, allows_extra_samples=True)
    curve = evaluate(custom, Submission(("b", "x", "a"), boxes, {})).curves["car", 2.0]
    assert curve.num_predictions == 2 and curve.precision[50] == 0.5  # dataset order a, b: the miss goes first
    official = make_gt(("a", "x", "b"), at_origin | {"sample": [0, 2]})
    curve = evaluate(official, Submission(("b", "x", "a"), boxes, {})).curves["car", 2.0]
    assert curve.num_predictions == 3 and curve.precision[49] == 1.0  # file order: the hit in a goes first


def test_too_many_boxes_of_one_sample(gt):
    crowd = gt.boxes.select(np.zeros(501, dtype=np.int64))
    with pytest.raises(SubmissionError, match="Sample 'a' has 501 boxes, the limit is 500"):
        evaluate(gt, Submission(TOKENS, crowd, {}))


def test_unknown_config(gt):
    with pytest.raises(AqrError, match="Unknown evaluation config 'detection_2031'"):
        evaluate(gt, Submission(TOKENS, gt.boxes, {}), config="detection_2031")


def test_json_is_strict_and_complete(gt, tmp_path):
    metrics = evaluate(gt, Submission(TOKENS, _predict(gt, np.random.default_rng(2), 0.3), {}))
    path = metrics.to_json(tmp_path / "deep" / "metrics.json")

    def refuse(word):
        raise AssertionError(f"{word} is not strict JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["nd_score"] == metrics.nd_score and content["mean_ap"] == metrics.mean_ap
    assert content["label_aps"]["car"]["0.5"] == metrics.label_aps["car"][0.5]
    assert content["label_tp_errors"]["barrier"]["vel_err"] is None
    assert len(content["curves"]) == 40 and len(content["curves"]["bus:2.0"]["precision"]) == 101
    assert content["curves"]["bus:2.0"]["num_gt"] == 6
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]


def test_mean_over_the_classes_present(make_gt, tmp_path, write_results):
    """One class found, one missed, eight absent: (1 + 0) / 2 over those present, (1 + 0) / 10 over all."""
    columns = {
        "sample": [0, 0],
        "detection_name": ["car", "bus"],
        "translation": [[5, 0, 0], [0, 9, 0]],
        "num_pts": [3, 3],
    }
    gt = make_gt(["t0"], columns)
    found = {
        "translation": [5, 0, 0],
        "size": [1, 1, 1],
        "rotation": [1, 0, 0, 0],
        "velocity": [0, 0],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "",
    }
    path = write_results(tmp_path / "s.json", {"t0": [found]})
    metrics = evaluate(gt, load_submission(path))
    assert metrics.present_classes == ("car", "bus")
    assert metrics.mean_ap_present == pytest.approx(0.5) and metrics.mean_ap == pytest.approx(0.1)
