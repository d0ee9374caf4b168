from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_eval.match_errors import angle_difference, match_errors
from aqr_eval.nuscenes.geometry import yaw_to_quaternion


def _pair(make_boxes, gt, prediction, name="car"):
    return (
        make_boxes({"sample": [0], "translation": [[0.0, 0, 0]], "detection_name": [name]} | gt),
        make_boxes({"sample": [0], "translation": [[0.0, 0, 0]], "detection_name": [name]} | prediction),
    )


def test_by_hand(make_boxes):
    gt, prediction = _pair(
        make_boxes,
        {"size": [[1, 1, 1]], "velocity": [[1, 1]], "attribute_name": ["vehicle.moving"]},
        {
            "translation": [[3.0, 4.0, 9.0]],
            "size": [[2, 2, 2]],
            "velocity": [[4, 5]],
            "rotation": [yaw_to_quaternion(0.5).tolist()],
            "attribute_name": ["vehicle.parked"],
        },
    )
    errors = {name: values.item() for name, values in match_errors(gt, prediction).items()}
    assert errors == pytest.approx(
        {"trans_err": 5, "scale_err": 7 / 8, "orient_err": 0.5, "vel_err": 5, "attr_err": 1}, abs=1e-12
    )


@pytest.mark.parametrize(("name", "error"), [("barrier", 0.0), ("car", math.pi)])
def test_only_a_barrier_may_face_either_way(make_boxes, name, error):
    gt, prediction = _pair(make_boxes, {}, {"rotation": [yaw_to_quaternion(math.pi).tolist()]}, name)
    assert match_errors(gt, prediction)["orient_err"].item() == pytest.approx(error, abs=1e-12)


def test_unknown_velocity_and_attribute_are_nan(make_boxes):
    gt, prediction = _pair(make_boxes, {"velocity": [None]}, {"attribute_name": ["vehicle.moving"]})
    errors = match_errors(gt, prediction)
    assert np.isnan(errors["vel_err"]).all() and np.isnan(errors["attr_err"]).all()


@given(st.floats(-20, 20), st.floats(-20, 20), st.sampled_from([math.pi, 2 * math.pi]))
def test_angle_difference_is_symmetric_and_small(x, y, period):
    forth, back = (abs(float(angle_difference(np.array(a), np.array(b), period))) for a, b in ((x, y), (y, x)))
    assert forth == pytest.approx(back, abs=1e-9)
    assert forth <= period / 2 + 1e-12
