from __future__ import annotations

import math

import numpy as np
import pytest

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX
from aqr_eval.nuscenes.classes import DETECTION_CLASSES, default_attribute
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.submission import Submission, detections_to_global

HALF = math.sqrt(0.5)


def test_detections_to_global():
    # The LiDAR looks along the vehicle's -y (its x axis is the vehicle's -y); the vehicle faces +y at (100, 200).
    lidar2ego, ego2global = np.eye(4), np.eye(4)
    lidar2ego[:3, :3], lidar2ego[:3, 3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [1, 0, 2]
    ego2global[:3, :3], ego2global[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [100, 200, 0]
    # 10 m ahead, heading ahead (+y of the LiDAR), 4 long, 2 wide, 1.5 high, 3 m/s ahead.
    detections = [[0, 10, 0, 4, 2, 1.5, math.pi / 2, 0, 3], [0, 0, 0, 1, 1, 1, 0, math.nan, math.nan]]
    boxes = detections_to_global(detections, [0.5, 0.25], [0, 8], lidar2ego, ego2global)
    np.testing.assert_allclose(boxes.translation[0], [100, 211, 2], atol=1e-12)
    assert boxes.size_wlh[0].tolist() == [2, 4, 1.5]
    np.testing.assert_allclose(np.abs(boxes.rotation_wxyz[0]), [HALF, 0, 0, HALF], atol=1e-12)
    np.testing.assert_allclose(boxes.velocity[0], [0, 3], atol=1e-12)
    assert np.isnan(boxes.velocity[1]).all()
    assert boxes.score.tolist() == [0.5, 0.25] and boxes.num_pts.tolist() == [-1, -1]
    assert boxes.label.tolist() == [CLASS_INDEX["car"], CLASS_INDEX["pedestrian"]]
    assert boxes.attribute.tolist() == [ATTRIBUTE_INDEX["vehicle.moving"], ATTRIBUTE_INDEX["pedestrian.standing"]]


@pytest.mark.parametrize("speed", [0.0, 0.19, 0.21, 5.0, math.nan])
def test_attributes_follow_the_rule_of_the_field(speed):
    boxes = np.tile([0, 0, 0, 1, 1, 1, 0, speed, 0], (10, 1))
    attributes = detections_to_global(boxes, np.ones(10), np.arange(10), np.eye(4), np.eye(4)).attribute
    assert attributes.tolist() == [ATTRIBUTE_INDEX[default_attribute(name, speed)] for name in DETECTION_CLASSES]


def test_no_detections():
    assert len(detections_to_global(np.zeros((0, 9)), [], [], np.eye(4), np.eye(4))) == 0


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


def test_samples_are_joined_in_order():
    one = detections_to_global([[1.0] * 9], [0.5], [0], np.eye(4), np.eye(4))
    two = detections_to_global([[2.0] * 9, [3.0] * 9], [0.5, 0.6], [1, 2], np.eye(4), np.eye(4))
    none = detections_to_global([], [], [], np.eye(4), np.eye(4))
    submission = Submission.of_samples({"a": one, "b": none, "c": two})
    assert submission.tokens == ("a", "b", "c") and submission.boxes.sample.tolist() == [0, 2, 2]
    assert submission.boxes.label.tolist() == [0, 1, 2]
    assert len(Submission.of_samples({}).boxes) == 0
