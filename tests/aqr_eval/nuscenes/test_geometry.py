from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aqr_eval.nuscenes.geometry import (
    invert_rigid,
    matrix_to_quaternion,
    multiply_quaternions,
    pose_matrix,
    quaternion_to_matrix,
    transform_points,
    yaw_from_quaternion,
    yaw_to_quaternion,
)

QUATERNIONS = arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 1e-2)
HALF = math.sqrt(0.5)


def test_quarter_turn_about_z():
    matrix = quaternion_to_matrix([HALF, 0, 0, HALF])
    np.testing.assert_allclose(matrix, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)
    assert yaw_from_quaternion([HALF, 0, 0, HALF]) == pytest.approx(math.pi / 2)


def test_zero_quaternion_has_yaw_zero():
    assert yaw_from_quaternion([0.0, 0, 0, 0]) == 0.0


@given(QUATERNIONS)
def test_matrix_round_trip(q):
    unit = q / np.linalg.norm(q)
    back = matrix_to_quaternion(quaternion_to_matrix(q))
    assert back[0] >= 0
    assert abs(float(back @ unit)) == pytest.approx(1, abs=1e-12)


@given(QUATERNIONS, QUATERNIONS)
def test_product_turns_twice(left, right):
    np.testing.assert_allclose(
        quaternion_to_matrix(multiply_quaternions(left, right)),
        quaternion_to_matrix(left) @ quaternion_to_matrix(right),
        atol=1e-10,
    )


@given(st.floats(-3.1, 3.1))
def test_yaw_round_trip(yaw):
    assert yaw_from_quaternion(yaw_to_quaternion(yaw)) == pytest.approx(yaw, abs=1e-12)


def test_pose_matrix_of_many():
    poses = pose_matrix(np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([[1.0, 0, 0, 0], [HALF, 0, 0, HALF]]))
    np.testing.assert_allclose(poses[0] @ [1, 1, 1, 1], [2, 3, 4, 1])
    np.testing.assert_allclose(poses[1] @ [1, 0, 0, 1], [4, 6, 6, 1])


def test_rigid_transform_by_hand_and_back():
    quarter_turn = np.array([[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])
    np.testing.assert_allclose(transform_points(quarter_turn, np.array([1.0, 2, 3])), [8, 21, 33])
    many = np.arange(24.0).reshape(4, 2, 3)
    np.testing.assert_allclose(transform_points(invert_rigid(quarter_turn), transform_points(quarter_turn, many)), many)
