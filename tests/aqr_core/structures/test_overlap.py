import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.structures.boxes3d import box_corners, points_in_boxes
from aqr_core.structures.overlap import overlaps_in_bev, points_in_any_box


def _box(x, y, dx, dy, yaw_degrees=0.0):
    return [x, y, 0, dx, dy, 1, np.deg2rad(yaw_degrees), 0, 0]


CAR = _box(0, 0, 4, 2)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (_box(3.9, 0, 4, 2), True),
        (_box(4, 0, 4, 2), False),  # touches along a side
        (_box(4, 2, 4, 2), False),  # touches at a corner
        (_box(0, 0, 4, 2), True),  # the same
        (_box(0.5, 0, 1, 1), True),  # inside
        (_box(0, 0, 9, 9), True),  # around
        (_box(0, 0, 1, 9), True),  # a cross: no corner of one lies in the other
        (_box(1, 1, 2, 2, 90), True),
        # A square turned by 45 degrees reaches sqrt(2) = 1.41 m along x, and less at the height of the car's corners.
        (_box(3.4, 0, 2, 2, 45), True),
        (_box(3.42, 0, 2, 2, 45), False),
        # The car's corner (2, 1) is sqrt(2) from the centre (3, 2), straight before a side of the turned square.
        (_box(3, 2, 2.84, 2.84, 45), True),
        (_box(3, 2, 2.82, 2.82, 45), False),
        (_box(3, 2, 2.5, 2.5, 45), False),
        (_box(3, 2, 2.5, 2.5), True),  # the same square upright
    ],
)
def test_overlap_by_hand(other, overlap):
    first, second = np.array([CAR]), np.array([other])
    assert overlaps_in_bev(first, second).tolist() == [[overlap]]
    assert overlaps_in_bev(second, first).tolist() == [[overlap]]


def test_height_does_not_matter_and_empty_sets_are_fine():
    above = np.array([CAR]) + np.eye(9)[2] * 50
    assert overlaps_in_bev(np.array([CAR]), above).all()
    assert overlaps_in_bev(np.zeros((0, 9)), above).shape == (0, 1)
    assert overlaps_in_bev(above, np.zeros((0, 9))).shape == (1, 0)


def _common_area(first, second):
    """Area of the intersection, by clipping one footprint with the sides of the other."""
    polygon, clip = box_corners(first[None])[0, :4, :2], box_corners(second[None])[0, :4, :2]
    for start, end in zip(clip, np.roll(clip, -1, axis=0), strict=True):
        kept, side = [], (end - start)[0] * (polygon - start)[:, 1] - (end - start)[1] * (polygon - start)[:, 0]
        for i in range(len(polygon)):
            a, b, side_a, side_b = polygon[i - 1], polygon[i], side[i - 1], side[i]
            if side_a * side_b < 0:
                kept.append(a + (b - a) * side_a / (side_a - side_b))
            if side_b >= 0:
                kept.append(b)
        polygon = np.array(kept)
        if not len(polygon):
            return 0.0
    x, y = polygon.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@given(st.integers(0, 2**32 - 1))
def test_boxes_overlap_where_their_footprints_share_an_area(seed):
    rng = np.random.default_rng(seed)
    boxes = np.zeros((12, 9))
    boxes[:, :2] = rng.uniform(-6, 6, (12, 2))
    boxes[:, 3:6] = rng.uniform(0.3, 8, (12, 3))
    boxes[:, 6] = rng.uniform(-7, 7, 12)
    area = np.array([[_common_area(a, b) for b in boxes] for a in boxes])
    np.testing.assert_array_equal(overlaps_in_bev(boxes, boxes), area > 1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(0, 20), st.sampled_from([np.float32, np.float64]))
def test_points_in_any_box_are_those_in_one_of_them(seed, count, dtype):
    rng = np.random.default_rng(seed)
    boxes = np.zeros((count, 9))
    boxes[:, :3] = rng.uniform(-20, 20, (count, 3)) * (1, 1, 0.1)
    boxes[:, 3:6] = rng.uniform(0.1, 10, (count, 3))
    boxes[:, 6] = rng.uniform(-4, 4, count)
    points = rng.uniform(-30, 30, (500, 5)).astype(dtype)
    points[:, 2] /= 10
    np.testing.assert_array_equal(points_in_any_box(points, boxes), points_in_boxes(points, boxes).any(axis=1))


def test_points_on_the_faces_are_inside_and_far_ones_are_not():
    points = np.array([[2, 1, 0.5], [-2, -1, -0.5], [2.001, 0, 0], [0, 0, 0.51], [1e6, -1e6, 0]], np.float32)
    assert points_in_any_box(points, np.array([CAR])).tolist() == [True, True, False, False, False]
    assert not points_in_any_box(np.zeros((0, 5), np.float32), np.array([CAR])).size
