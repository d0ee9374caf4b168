"""Equality with the unmodified devkit on recorded cases, through the same file format that users write."""

from __future__ import annotations

import json
import math

import pytest

from aqr_eval import evaluate, load_submission
from aqr_eval.config import detection_config
from aqr_eval.evaluation import align_samples
from aqr_eval.filters import counted_rows
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.errors import AqrError, SubmissionError

TOLERANCE = 1e-9

EQUAL = (
    "mixed_all_classes mixed_ties all_scores_equal missing_classes exact_thresholds equidistant_gts range_boundary "
    "velocity_nan attributes orientation zero_scores low_recall boxes_500 all_predictions_filtered pred_num_pts_zero "
    "all_gt_filtered negative_scores zero_size_unmatched perfect_with_duplicates bike_racks noisy_subset"
).split()


@pytest.fixture(scope="module")
def golden(golden_cases, make_gt, tmp_path_factory):
    def load(name):
        case = golden_cases[name]
        tokens = [sample["token"] for sample in case["samples"]]
        path = tmp_path_factory.mktemp("golden") / f"{name}.json"
        path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": _results(case, tokens)}))
        gt = make_gt(
            tokens,
            case["gt"],
            ego_translation=[sample["ego_translation"] for sample in case["samples"]],
            racks=[(i, rack) for i, sample in enumerate(case["samples"]) for rack in sample["bike_racks"]],
        )
        return gt, path, case["expected"]

    return load


def _results(case, tokens):
    columns = case["pred"]
    order = [token for token in case["pred_sample_order"]]
    dropped = {token if isinstance(token, str) else tokens[token] for token in case["pred_samples_dropped"]}
    order = [token if isinstance(token, str) else tokens[token] for token in order]
    results = {token: [] for token in order if token not in dropped}
    for row, sample in enumerate(columns["sample"]):
        if tokens[sample] in dropped:
            continue
        box = {field: columns[field][row] for field in columns if field != "sample"}
        box["velocity"] = [math.nan if v is None else v for v in box["velocity"] or (None, None)]
        if box.get("num_pts", -1) is None:
            del box["num_pts"]
        results[tokens[sample]].append({"sample_token": tokens[sample], **box})
    return results | {token: [] for token in case["pred_extra_sample_tokens"]}


def _assert_equal(actual, expected, where=""):
    if isinstance(expected, dict):
        actual = {str(key): value for key, value in actual.items()}
        assert actual.keys() == expected.keys(), where
        for key, value in expected.items():
            _assert_equal(actual[key], value, f"{where}/{key}")
    elif expected is None:
        assert math.isnan(actual), where
    else:
        assert actual == pytest.approx(expected, abs=TOLERANCE, rel=0), where


@pytest.mark.parametrize("name", EQUAL)
def test_equals_the_devkit(golden, name):
    gt, path, expected = golden(name)
    submission = load_submission(path)
    metrics = evaluate(gt, submission)
    for field in ("nd_score", "mean_ap", "mean_dist_aps", "label_aps", "tp_errors", "tp_scores", "label_tp_errors"):
        _assert_equal(getattr(metrics, field), expected[field], field)
    for key, values in expected.get("curves", {}).items():
        class_name, threshold = key.split(":")
        curve = metrics.curves[class_name, float(threshold)]
        for field, points in values.items():
            assert getattr(curve, field) == pytest.approx(points, abs=TOLERANCE, rel=0), (key, field)
    for side, boxes in (("gt", gt.boxes), ("pred", align_samples(gt, submission))):
        config = detection_config("detection_cvpr_2019")
        kept = boxes.select(counted_rows(boxes, gt.ego_translation, gt.bicycle_racks, config))
        counts = {name: int((kept.label == label).sum()) for label, name in enumerate(DETECTION_CLASSES)}
        expected_counts = expected["boxes_after_filter"][side]
        assert {name: n for name, n in counts.items() if n} == {name: n for name, n in expected_counts.items() if n}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("boxes_over_500", "has 501 boxes, the limit is 500"),
        ("missing_sample", "1 missing"),
        ("extra_sample", "1 extra .'ffffffffffffffffffffffffffffffff'."),
        ("zero_size_matched", "every side must be longer than 0"),
    ],
)
def test_refuses_what_the_devkit_refuses_and_names_it(golden, name, message):
    gt, path, _ = golden(name)
    with pytest.raises(SubmissionError, match=message):
        evaluate(gt, load_submission(path))


@pytest.mark.parametrize("name", ["no_predictions_at_all", "no_gt_at_all"])
def test_scores_zero_where_the_devkit_crashes_on_emptiness(golden, name):
    gt, path, _ = golden(name)
    metrics = evaluate(gt, load_submission(path))
    assert metrics.mean_ap == metrics.nd_score == 0.0
    assert set(metrics.tp_errors.values()) == {1.0}


def test_partly_recalled_negative_scores_are_scored(golden):
    gt, path, _ = golden("negative_scores_partial")
    metrics = evaluate(gt, load_submission(path))
    assert 0 < metrics.nd_score < 1


@pytest.mark.parametrize(
    "name",
    "boxes_over_500 missing_sample extra_sample no_predictions_at_all no_gt_at_all negative_scores_partial "
    "zero_size_matched".split(),
)
def test_strict_refuses_whatever_the_devkit_refuses(golden, name):
    gt, path, expected = golden(name)
    assert expected["error"]
    with pytest.raises(AqrError, match=r".+: .+\."):
        evaluate(gt, load_submission(path), strict=True)


@pytest.mark.parametrize("name", EQUAL)
def test_strict_takes_whatever_the_devkit_takes(golden, name):
    gt, path, expected = golden(name)
    assert not expected["error"]
    assert evaluate(gt, load_submission(path), strict=True).nd_score == pytest.approx(expected["nd_score"], abs=1e-9)
