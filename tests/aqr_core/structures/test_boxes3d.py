from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.structures import boxes3d

BOX = np.array([[1.0, 2, 3, 4, 2, 1, 0, 5, 6]])


def test_corners_by_hand():
    corners = boxes3d.box_corners(BOX)[0]
    bottom = [[3, 3, 2.5], [-1, 3, 2.5], [-1, 1, 2.5], [3, 1, 2.5]]
    np.testing.assert_allclose(corners[:4], bottom)
    np.testing.assert_allclose(corners[4:], np.array(bottom) + [0, 0, 1])


def test_a_quarter_turn_swaps_the_sides():
    turned = BOX.copy()
    turned[0, 6] = np.pi / 2
    np.testing.assert_allclose(boxes3d.box_corners(turned)[0, 0], [0, 4, 2.5], atol=1e-12)  # front left is ahead, left


def test_points_in_boxes_includes_the_faces():
    points = np.array([[1, 2, 3], [3, 3, 3.5], [3.001, 2, 3], [1, 2, 2.499]])
    assert boxes3d.points_in_boxes(points, BOX)[:, 0].tolist() == [True, True, False, False]
    assert boxes3d.points_in_boxes(points[:0], BOX).shape == (0, 1)
    assert boxes3d.points_in_boxes(points, BOX[:0]).shape == (4, 0)


@given(st.integers(0, 2**32 - 1))
def test_corners_and_points_agree(seed):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(-3, 3, (4, 9))
    boxes[:, 3:6] = rng.uniform(0.1, 5, (4, 3))
    corners = boxes3d.box_corners(boxes)
    for i in range(4):
        weights = rng.dirichlet(np.ones(8), 20)
        assert boxes3d.points_in_boxes(weights @ corners[i], boxes[i : i + 1]).all()
        outside = boxes[i, :3] + 1.01 * (corners[i] - boxes[i, :3])
        assert not boxes3d.points_in_boxes(outside, boxes[i : i + 1]).any()


def test_conversions_by_hand():
    np.testing.assert_allclose(boxes3d.gravity_to_bottom(BOX)[0, 2], 2.5)
    np.testing.assert_allclose(boxes3d.bottom_to_gravity(boxes3d.gravity_to_bottom(BOX)), BOX)
    np.testing.assert_allclose(boxes3d.size_to_wlh(np.array([4.0, 2, 1])), [2, 4, 1])
    np.testing.assert_allclose(boxes3d.wlh_to_size(np.array([2.0, 4, 1])), [4, 2, 1])
    legacy = np.array([[1.0, 2, 3, 2, 4, 1, -0.3 - np.pi / 2, 5, 6]])
    np.testing.assert_allclose(boxes3d.legacy_wlh_to_box(legacy), [[1, 2, 3, 4, 2, 1, 0.3, 5, 6]])


@pytest.mark.parametrize(
    ("angle", "wrapped"), [(0, 0), (np.pi, -np.pi), (-np.pi, -np.pi), (4, 4 - 2 * np.pi), (-7, 2 * np.pi - 7)]
)
def test_wrap_angle(angle, wrapped):
    assert boxes3d.wrap_angle(angle) == pytest.approx(wrapped)
