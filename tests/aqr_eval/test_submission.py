from __future__ import annotations

import json
import math

import numpy as np
import pytest

from aqr_eval import load_submission, write_submission
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.submission import detections_to_global

HALF = math.sqrt(0.5)


def _box(**changes):
    box = {
        "sample_token": "a",
        "translation": [1.0, 2.0, 3.0],
        "size": [2, 4, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.5, math.nan],
        "detection_name": "bus",
        "detection_score": 0.75,
        "attribute_name": "vehicle.moving",
    }
    return {key: value for key, value in (box | changes).items() if value is not ...}


def _write(tmp_path, boxes, **top):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {}, "results": {"a": boxes, "b": []}} | top))
    return path


def test_columns(tmp_path):
    submission = load_submission(_write(tmp_path, [_box(), _box(num_pts=3, attribute_name="")]))
    boxes = submission.boxes
    assert submission.tokens == ("a", "b") and len(boxes) == 2
    assert boxes.label.tolist() == [3, 3] and boxes.attribute.tolist() == [0, -1] and boxes.num_pts.tolist() == [-1, 3]
    assert boxes.translation[0].tolist() == [1, 2, 3] and boxes.size_wlh[0].tolist() == [2, 4, 1.5]
    assert boxes.velocity[0, 0] == 0.5 and math.isnan(boxes.velocity[0, 1]) and boxes.score[0] == 0.75


def test_meta_may_come_last_and_other_keys_are_ignored(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"results": {"a": [_box()]}, "note": [1], "meta": {"use_lidar": True}}))
    assert load_submission(path).meta == {"use_lidar": True}


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (_box(velocity=..., size=...), "sample 'a', box 0 lacks size, velocity"),
        (_box(detection_score=...), "lacks detection_score"),
        (_box(sample_token="b"), "has sample_token 'b': list each box under its own sample"),
        (_box(translation=[1, 2]), r"has translation = \[1, 2\]: write 3 numbers"),
        (_box(rotation=["1", 0, 0, 0]), "has rotation = "),
        (_box(velocity=[None, 1]), r"has velocity = \[None, 1\]"),
        (_box(detection_name="lorry"), "has detection_name = 'lorry': choose among 'car', 'truck'"),
        (_box(detection_name=["car"]), "has detection_name = "),
        (_box(attribute_name="parked"), "has attribute_name = 'parked'"),
        (_box(detection_score="high"), "has detection_score = 'high'"),
        (_box(num_pts="many"), "has num_pts = 'many'"),
        (_box(translation=[math.nan, 0, 0]), "whose translation holds nan"),
        (_box(size=[1, math.inf, 1]), "whose size holds inf"),
        (_box(velocity=[math.inf, 0]), "whose velocity holds inf"),
        (_box(detection_score=math.nan), "whose detection_score holds nan"),
        (7, "box 0 is 7: write an object"),
    ],
)
def test_bad_boxes_are_named(tmp_path, box, message):
    with pytest.raises(SubmissionError, match=message):
        load_submission(_write(tmp_path, [box]))


def test_at_most_500_boxes(tmp_path):
    assert len(load_submission(_write(tmp_path, [_box()] * 500)).boxes) == 500
    with pytest.raises(SubmissionError, match="sample 'a' has 501 boxes, the limit is 500"):
        load_submission(_write(tmp_path, [_box()] * 501))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no JSON object"),
        ('{"meta": {}, "results": {"a": []', "breaks off"),
        ('{"meta": {}, "results": {"a": [], "a": []}}', "sample 'a' appears twice"),
        ('{"meta": {}, "results": {"a": {}}}', "where a list of boxes belongs"),
        ('{"meta": {}, "results": []}', "must map sample tokens"),
        ('{"meta": {}}', "has no 'results' object"),
        ('{"results": {}}', "has no 'meta' object"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=message):
        load_submission(path)


def test_missing_file(tmp_path):
    with pytest.raises(SubmissionError, match=r"none\.json does not exist"):
        load_submission(tmp_path / "none.json")


def test_write_then_load(tmp_path):
    record = _box(sample_token=...)
    path = write_submission(tmp_path / "new" / "s.json", {"b": [], "a": [record]}, meta={"use_camera": False})
    submission = load_submission(path)
    assert submission.tokens == ("b", "a") and submission.meta == {"use_camera": False}
    assert json.loads(path.read_text())["results"]["a"][0]["sample_token"] == "a"
    assert [file.name for file in path.parent.iterdir()] == ["s.json"]


def test_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_submission(tmp_path / "s.json", {"a": [{"translation": np.zeros(3)}]})
    assert list(tmp_path.iterdir()) == []


def test_detections_to_global():
    # The LiDAR looks along the vehicle's -y (its x axis is the vehicle's -y); the vehicle faces +y at (100, 200).
    lidar2ego, ego2global = np.eye(4), np.eye(4)
    lidar2ego[:3, :3], lidar2ego[:3, 3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [1, 0, 2]
    ego2global[:3, :3], ego2global[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [100, 200, 0]
    # 10 m ahead, heading ahead (+y of the LiDAR), 4 long, 2 wide, 1.5 high, 3 m/s ahead.
    boxes = [[0, 10, 0, 4, 2, 1.5, math.pi / 2, 0, 3], [0, 0, 0, 1, 1, 1, 0, math.nan, math.nan]]
    moving, unknown = detections_to_global(boxes, [0.5, 0.25], [0, 8], lidar2ego, ego2global)
    np.testing.assert_allclose(moving["translation"], [100, 211, 2], atol=1e-12)
    assert moving["size"] == [2, 4, 1.5]
    np.testing.assert_allclose(np.abs(moving["rotation"]), [HALF, 0, 0, HALF], atol=1e-12)
    np.testing.assert_allclose(moving["velocity"], [0, 3], atol=1e-12)
    assert (moving["detection_name"], moving["attribute_name"]) == ("car", "vehicle.moving")
    assert (unknown["detection_name"], unknown["attribute_name"]) == ("pedestrian", "pedestrian.standing")
    assert all(math.isnan(v) for v in unknown["velocity"])
    assert type(moving["detection_score"]) is float and json.dumps(moving)


def test_no_detections():
    assert detections_to_global(np.zeros((0, 9)), [], [], np.eye(4), np.eye(4)) == []


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "message"),
    [
        ([[math.nan] + [1.0] * 8], [0.5], [0], "only velocities may be NaN"),
        ([[1.0] * 9], [math.nan], [0], "only velocities may be NaN"),
        ([[1.0] * 9], [0.5], [-1], "has label -1"),
        ([[1.0] * 9], [0.5], [10], "has label 10"),
        ([[1.0] * 9], [0.5, 0.6], [0], "1 boxes come with 2 scores"),
    ],
)
def test_bad_detections(boxes, scores, labels, message):
    with pytest.raises(SubmissionError, match=message):
        detections_to_global(boxes, scores, labels, np.eye(4), np.eye(4))
