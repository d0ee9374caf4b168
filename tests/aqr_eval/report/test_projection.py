"""The projection chain against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aqr_eval.report.projection import (
    EDGES,
    box_corners,
    box_segments,
    clip_near,
    clip_to_frame,
    project,
)

INTRINSIC = np.array([[100.0, 0, 80], [0, 100, 45], [0, 0, 1]])
IDENTITY = np.eye(4)


def box(centre, wlh=(2.0, 4.0, 1.0), quaternion=(1.0, 0, 0, 0)):
    return box_corners(*(np.array([value], dtype=float) for value in (centre, wlh, quaternion)))


def test_corners_put_length_along_x_and_front_first():
    corners = box((10, 20, 30))[0]
    assert corners.min(axis=0).tolist() == [8, 19, 29.5]
    assert corners.max(axis=0).tolist() == [12, 21, 30.5]
    assert corners[:4, 0].tolist() == [12] * 4


def test_corners_turn_with_the_quaternion():
    quarter_turn = (np.sqrt(0.5), 0, 0, np.sqrt(0.5))
    corners = box((0, 0, 0), quaternion=quarter_turn)[0]
    np.testing.assert_allclose(corners.max(axis=0), [1, 2, 0.5], atol=1e-12)
    np.testing.assert_allclose(corners[:4, 1], 2, atol=1e-12)


def test_edges_are_the_twelve_of_a_box():
    corners = box((0, 0, 0), wlh=(2, 4, 1))[0]
    lengths = np.linalg.norm(np.diff(corners[EDGES], axis=1)[:, 0], axis=1)
    assert sorted(lengths.tolist()) == [1] * 4 + [2] * 4 + [4] * 4


def test_project_by_hand():
    np.testing.assert_allclose(project(np.array([1.0, -0.5, 4]), INTRINSIC), [105, 32.5], atol=1e-9)


def test_near_plane_cuts_at_its_depth():
    crossing = np.array([[0.0, 0, -1.9], [2.0, 4.0, 2.1]])
    clipped, kept = clip_near(crossing, near_m=0.1)
    assert kept
    np.testing.assert_allclose(clipped, [[1.0, 2.0, 0.1], [2, 4, 2.1]], atol=1e-12)
    reverse, _ = clip_near(crossing[::-1], near_m=0.1)
    np.testing.assert_allclose(reverse, clipped[::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("depths", "kept"), [((1, 2), True), ((-1, -2), False), ((0, 0.05), False), ((0.1, 0.1), True)]
)
def test_near_plane_keeps_or_drops_whole_segments(depths, kept):
    segment = np.array([[1.0, 2, depths[0]], [3.0, 4, depths[1]]])
    clipped, mask = clip_near(segment)
    assert mask == kept
    if kept:
        np.testing.assert_array_equal(clipped, segment)


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ([[-10, 20], [10, 20]], [[0, 20], [10, 20]]),
        ([[-50, -50], [250, 250]], [[0, 0], [90, 90]]),
        ([[20, 30], [40, 50]], [[20, 30], [40, 50]]),
        ([[170, 10], [200, 20]], None),
        ([[-10, 5], [-10, 80]], None),
        ([[-5, 95], [5, 100]], None),
        ([[20, 30], [20, 30]], [[20, 30], [20, 30]]),
    ],
)
def test_frame_clipping_by_hand(segment, expected):
    clipped, inside = clip_to_frame(np.array(segment, dtype=float), 160, 90)
    assert inside == (expected is not None)
    if expected is not None:
        np.testing.assert_allclose(clipped, expected, atol=1e-12)


def test_box_ahead_shows_all_edges_where_a_pinhole_puts_them():
    corners = box((0, 0, 10), wlh=(2, 4, 2))
    segments, visible = box_segments(corners, IDENTITY, INTRINSIC, 160, 90)
    assert visible.all()
    points = segments.reshape(-1, 2)
    # Nearest face at depth 9: x = +-2, y = +-1.
    np.testing.assert_allclose(points.min(axis=0), [80 - 200 / 9, 45 - 100 / 9], atol=1e-9)
    np.testing.assert_allclose(points.max(axis=0), [80 + 200 / 9, 45 + 100 / 9], atol=1e-9)


def test_box_behind_the_camera_is_invisible():
    assert not box_segments(box((0, 0, -10)), IDENTITY, INTRINSIC, 160, 90)[1].any()


def test_box_through_the_camera_plane_stays_on_its_side():
    corners = box((2, 0, 0), wlh=(1, 1, 8))
    segments, visible = box_segments(corners, IDENTITY, INTRINSIC, 160, 90)
    assert visible.any()
    assert (segments[visible][..., 0] > 80).all()


coordinate = st.floats(-30, 30, allow_nan=False)


@given(arrays(float, (5, 2, 3), elements=coordinate))
def test_clipped_ends_lie_in_front_and_on_the_segment(segments):
    clipped, kept = clip_near(segments)
    assert (clipped[kept][..., 2] >= 0.1 - 1e-12).all()
    assert np.array_equal(kept, (segments[..., 2] >= 0.1).any(axis=-1))
    for before, after in zip(segments[kept], clipped[kept], strict=True):
        total = np.linalg.norm(before[1] - before[0])
        for point in after:
            around = np.linalg.norm(point - before[0]) + np.linalg.norm(point - before[1])
            assert around == pytest.approx(total, abs=1e-6)


@given(arrays(float, (5, 2, 2), elements=st.floats(-300, 300, allow_nan=False)))
def test_clipped_ends_lie_in_the_frame(segments):
    clipped, inside = clip_to_frame(segments, 160, 90)
    assert (clipped[inside] >= -1e-9).all()
    assert (clipped[inside] <= np.array([160, 90]) + 1e-9).all()
