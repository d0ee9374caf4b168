"""Groups of boxes: the whole, hand-made subsets, and properties that are not known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from aqr_eval import DetectionMetrics, evaluate
from aqr_eval.analysis import Group, break_down
from aqr_eval.analysis.properties import PROPERTIES
from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth.truth import Cameras

ALL, HALF = 1.0, 40 / 90  # AP with precision 1 at all counted recalls, or at those of 0.11 to 0.50


def groups(matches, name: str) -> dict[str, Group]:
    return {group.label: group for group in break_down(matches, [name]).groups[name]}


def test_the_whole_is_the_metric(crowd) -> None:
    truth, submission = crowd
    for count in (None, 30):  # all classes, and some that nobody finds
        boxes = submission.boxes.select(np.arange(len(submission.boxes))[:count])
        matches = find_matches(truth, replace(submission, boxes=boxes))
        metrics, whole = DetectionMetrics.from_matches(matches), break_down(matches, []).whole
        assert (whole.mean_ap, whole.nds, whole.tp_errors) == (metrics.mean_ap, metrics.nd_score, metrics.tp_errors)
        assert whole.mean_ap_present == metrics.mean_ap_present and whole.nds_present == whole.nds
        assert {name: one.ap for name, one in whole.classes.items()} == metrics.mean_dist_aps
        for name, one in whole.classes.items():
            assert one.tp_errors == pytest.approx(metrics.label_tp_errors[name], nan_ok=True)
        assert whole.true_boxes == len(matches.gt_rows) == sum(one.true_boxes for one in whole.classes.values())


def test_absent_classes_count_in_the_benchmark_and_not_among_those_present(make_matches) -> None:
    whole = break_down(make_matches({"x": [5, 9]}, {"x": [5], "detection_score": [0.9]}), []).whole
    assert list(whole.classes) == ["car"] and whole.classes["car"].ap == pytest.approx(HALF)
    assert whole.mean_ap == pytest.approx(HALF / 10) and whole.mean_ap_present == pytest.approx(HALF)
    assert whole.tp_errors["trans_err"] == pytest.approx(0.9) and whole.tp_errors_present["trans_err"] == 0
    # No attribute is known, which the benchmark takes for an error of 1; the other four are 0.
    assert whole.nds_present == pytest.approx((5 * HALF + 4) / 10)
    assert whole.recall == {0.5: 0.5, 1.0: 0.5, 2.0: 0.5, 4.0: 0.5} and whole.classes["car"].recall == 0.5


def test_a_match_belongs_to_the_distance_of_its_true_box(make_matches) -> None:
    # A car at 19.8 m is found at 20.1 m, one at 22 m is found; a false positive at 28 m scores between them.
    matches = make_matches({"x": [19.8, 22]}, {"x": [20.1, 22, 28], "detection_score": [0.9, 0.7, 0.8]})
    by_distance = groups(matches, "distance")
    assert list(by_distance) == ["10-20 m", "20-30 m"]  # no group without a true box
    near, far = by_distance.values()
    assert near.true_boxes == far.true_boxes == 1
    assert near.classes["car"].ap == pytest.approx(ALL) and near.recall[0.5] == 1
    # One match behind one false positive: precision rises from 0 at recall 0 to 1/2 at recall 1.
    precision = np.linspace(0, 0.5, 101)[11:]
    assert far.classes["car"].ap == pytest.approx(np.maximum(precision - 0.1, 0).mean() / 0.9)


def test_speed_is_told_of_both_sides_and_unknown_speed_is_nowhere(make_matches) -> None:
    true = {"x": [0, 5, 10, 15], "velocity": [[0.1, 0], [3, 4], [0, 1.9], None]}
    predicted = {"x": [0, 5, 30], "velocity": [[9, 9], [0, 0], [0, 5.9]], "detection_score": [0.9, 0.8, 0.7]}
    by_speed = groups(make_matches(true, predicted), "speed")
    assert {label: group.true_boxes for label, group in by_speed.items()} == {
        "< 0.2 m/s": 1,
        "0.2-2 m/s": 1,
        "2-6 m/s": 1,
    }
    assert by_speed["< 0.2 m/s"].mean_ap_present == pytest.approx(ALL) and by_speed["0.2-2 m/s"].mean_ap_present == 0
    # Its false positive comes behind the match and is seen at recall 1 alone: one of 90 points, 0.9 high.
    assert by_speed["2-6 m/s"].mean_ap_present == pytest.approx(ALL - (1 - 1 / 2) / 81)
    later = make_matches(
        {"x": [0, 5], "velocity": [[3, 4], [3, 4]]},
        {"x": [0, 30, 31], "velocity": [[0, 0], [0, 5.9], [0, 7]], "detection_score": [0.5, 0.8, 0.9]},
    )
    precision = np.interp(np.linspace(0, 1, 101), [0, 0.5], [0, 0.5], right=0)[11:]  # one false positive of two
    assert groups(later, "speed")["2-6 m/s"].mean_ap_present == pytest.approx(
        np.maximum(precision - 0.1, 0).mean() / 0.9
    )


def test_what_annotations_alone_know_has_recall_and_errors_but_no_precision(make_matches) -> None:
    true = {"x": [0, 5, 10, 15, 20], "num_pts": [1, 5, 6, 100, 101]}
    predicted = {"x": [0.3, 10, 15, 40], "detection_score": [0.9, 0.8, 0.7, 0.95]}
    matches = make_matches(true, predicted, visibility=np.array([1, 4, 4, 4, 0], dtype=np.int8))
    by_points = groups(matches, "points")
    assert {label: (group.true_boxes, group.recall[2.0]) for label, group in by_points.items()} == {
        "1-5": (2, 0.5),
        "6-20": (1, 1),
        "21-100": (1, 1),
        "> 100": (1, 0),
    }
    few = by_points["1-5"]
    assert few.tp_errors_present["trans_err"] == pytest.approx(0.3)
    assert all(map(math.isnan, (few.mean_ap, few.mean_ap_present, few.nds, few.nds_present, few.classes["car"].ap)))
    by_visibility = groups(matches, "visibility")
    assert {label: group.true_boxes for label, group in by_visibility.items()} == {"0-40 %": 1, "80-100 %": 3}
    assert by_visibility["80-100 %"].recall[4.0] == pytest.approx(2 / 3)


def test_scenes_are_told_by_whole_words(crowd) -> None:
    truth, submission = crowd
    by_scene = groups(find_matches(truth, submission), "scene")
    of_scene = np.bincount(truth.boxes.sample[truth.boxes.num_pts != 0] // 3, minlength=4)
    whole = break_down(find_matches(truth, submission), []).whole.true_boxes
    assert list(by_scene) == ["night", "day", "rain", "dry"]
    assert by_scene["night"].true_boxes + by_scene["day"].true_boxes == whole  # "Parked cars" by day
    assert by_scene["rain"].true_boxes + by_scene["dry"].true_boxes == whole
    assert by_scene["night"].true_boxes < of_scene[0] and by_scene["rain"].true_boxes < of_scene[0] + of_scene[2]
    untold = replace(truth, descriptions={"scene-0": "Night, rain"})
    assert list(groups(find_matches(untold, submission), "scene")) == ["night", "rain"]


@pytest.mark.parametrize(("label", "scenes"), [("night", ["scene-0"]), ("rain", ["scene-0", "scene-2"])])
def test_a_group_of_scenes_is_an_evaluation_of_these_scenes(crowd, label: str, scenes: list[str]) -> None:
    truth, submission = crowd
    group = groups(find_matches(truth, submission), "scene")[label]
    alone = evaluate(truth.subset(scenes=scenes), submission)
    assert (group.mean_ap, group.nds) == pytest.approx((alone.mean_ap, alone.nd_score), abs=1e-12)
    assert group.tp_errors == pytest.approx(alone.tp_errors, abs=1e-12)


def test_a_box_between_two_cameras_belongs_to_both(make_matches) -> None:
    # Cameras at the origin look along +x and along -x, 100 x 100 pixels; depth is |x|.
    ahead = np.array([[50.0, -10, 0, 0], [50, 0, -10, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    back = ahead * np.array([-1.0, 1, 1, 1])
    for cameras, expected in (((ahead, back), {"A": 1, "B": 1}), ((ahead, ahead), {"A": 1, "B": 1})):
        views = Cameras(("A", "B"), np.stack(cameras)[None], np.full((1, 2, 2), 100))
        x = [8, -8] if cameras[1] is back else [8]
        matches = make_matches({"x": x}, {"x": [8], "detection_score": [0.5]}, cameras=views)
        by_camera = groups(matches, "camera")
        assert {label: group.true_boxes for label, group in by_camera.items()} == expected
        assert by_camera["A"].mean_ap_present == pytest.approx(ALL)


def test_classes_are_groups_too(crowd) -> None:
    matches = find_matches(*crowd)
    aps = DetectionMetrics.from_matches(matches).mean_dist_aps
    assert {label: group.mean_ap_present for label, group in groups(matches, "class").items()} == aps


def test_what_the_truth_does_not_say_is_named_and_json_is_strict(make_matches) -> None:
    breakdown = break_down(make_matches({"x": [5]}, {"x": [5], "detection_score": [0.9]}))
    assert breakdown.unknown == ("visibility", "scene", "camera")
    assert list(breakdown.groups) == [name for name in PROPERTIES if name not in breakdown.unknown]
    plain = json.loads(json.dumps(breakdown.to_dict(), allow_nan=False))
    assert plain["groups"]["points"][0]["mean_ap"] is None and plain["groups"]["points"][0]["recall"]["2.0"] == 1


def test_no_boxes_at_all(make_matches) -> None:
    whole = break_down(make_matches({"x": []}, {"x": []})).whole
    assert whole.true_boxes == 0 and whole.mean_ap == 0 and math.isnan(whole.recall[2.0])
