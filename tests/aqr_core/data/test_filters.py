from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.data.transforms import ObjectNameFilter, ObjectRangeFilter, PointShuffle, PointsRangeFilter
from aqr_core.data.transforms.point_rows import pick_points
from aqr_core.errors import ConfigError

RANGE = (-10, -10, -2, 10, 10, 2)


def test_points_on_the_border_are_outside(new_frame):
    frame = new_frame(0)
    frame.points = np.array(
        [[0, 0, 0, 1, 0], [10, 0, 0, 2, 0], [-10, 0, 0, 3, 0], [0, 0, 2, 4, 0], [9.999, -9.999, -1.999, 5, 0]],
        np.float32,
    )
    PointsRangeFilter(RANGE)(frame)
    assert frame.points[:, 3].tolist() == [1, 5]


def test_boxes_by_their_centre_in_the_ground_plane(new_frame):
    frame = new_frame(0)
    frame.gt_boxes = np.zeros((3, 9))
    frame.gt_boxes[:, :3] = [[0, 0, 50], [10, 0, 0], [0, -9.9, 0]]
    frame.gt_boxes[:, 6] = [np.pi, 0, 4]
    frame.gt_labels = np.array([4, 5, 6])
    ObjectRangeFilter(RANGE)(frame)
    assert frame.gt_labels.tolist() == [4, 6]
    np.testing.assert_allclose(frame.gt_boxes[:, 6], [-np.pi, 4 - 2 * np.pi])


def test_name_filter_keeps_the_numbering(new_frame):
    frame = new_frame(0)
    frame.gt_labels = np.array([0, 3, 8, 3, 9])
    expected = frame.gt_boxes[[1, 2, 3]]
    ObjectNameFilter(["pedestrian", "bus"])(frame)
    assert frame.gt_labels.tolist() == [3, 8, 3]
    np.testing.assert_array_equal(frame.gt_boxes, expected)


def test_shuffle_keeps_every_point(new_frame):
    frame = new_frame(0)
    before = frame.points
    PointShuffle()(frame)
    assert not np.array_equal(frame.points, before)
    order = np.argsort(frame.points[:, 0]), np.argsort(before[:, 0])
    np.testing.assert_array_equal(frame.points[order[0]], before[order[1]])


def test_every_order_is_equally_likely_and_follows_from_the_generator(new_frame):
    frame, counts = new_frame(0), Counter()
    for seed in range(2400):
        frame.rng = np.random.default_rng(seed)
        frame.points = np.repeat(np.arange(4, dtype=np.float32)[:, None], 5, axis=1)
        PointShuffle()(frame)
        counts[tuple(frame.points[:, 2].tolist())] += 1
    assert len(counts) == 24 and all(abs(count - 100) < 50 for count in counts.values())
    orders = []
    for seed in (3, 3, 4):
        frame.rng = np.random.default_rng(seed)
        frame.points = np.arange(500, dtype=np.float32).reshape(100, 5)
        PointShuffle()(frame)
        orders.append(frame.points.tobytes())
    assert orders[0] == orders[1] != orders[2]


@given(st.integers(0, 40), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_picked_points_are_those_that_were_chosen(count, width, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, width)).astype(np.float32)
    mask = rng.random(count) < 0.5
    for cloud in (points, points[::-1], points[:, ::-1]):
        np.testing.assert_array_equal(pick_points(cloud, mask), cloud[mask])
    assert not np.shares_memory(pick_points(points, np.ones(count, bool)), points)


def test_empty_frame(new_frame):
    frame = new_frame(0)
    frame.points, frame.gt_boxes, frame.gt_labels = frame.points[:0], frame.gt_boxes[:0], frame.gt_labels[:0]
    for transform in (PointsRangeFilter(RANGE), ObjectRangeFilter(RANGE), ObjectNameFilter(["car"]), PointShuffle()):
        transform(frame)
    assert (len(frame.points), len(frame.gt_boxes), len(frame.gt_labels)) == (0, 0, 0)


def test_wrong_parameters(new_frame):
    for transform in (PointsRangeFilter, ObjectRangeFilter):
        for limits in ((1, 2, 3), (0, 0, 0, 0, 1, 1)):
            with pytest.raises(ConfigError, match=f"{transform.__name__}: point_cloud_range is"):
                transform(limits)
    with pytest.raises(ConfigError, match="unknown class 'pedestrians'. Did you mean 'pedestrian'"):
        ObjectNameFilter(["pedestrians"])(new_frame(0))
