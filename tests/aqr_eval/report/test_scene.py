"""Choice of samples, colours, tables and the bird's-eye view by hand numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aqr_eval.nuscenes.geometry import invert_rigid, transform_points
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report.bev import CANVAS, RANGE_M, read_points, to_canvas
from aqr_eval.report.colors import HEIGHT_STOPS, height_colors
from aqr_eval.report.projection import project
from aqr_eval.report.scene import find_keyframe, spread
from aqr_eval.report.tables import best_of, number


@pytest.mark.parametrize(("count", "chosen"), [(0, ""), (1, "b"), (2, "ac"), (3, "abc"), (9, "abc")])
def test_samples_spread_evenly(count, chosen):
    assert spread("abc", count) == list(chosen)
    assert spread("", count) == []


def test_keyframe_projects_global_points_by_hand(dataroot):
    camera = find_keyframe(NuScenesTables(dataroot, "v1.0-mini"), "s1").cameras["CAM_FRONT"]
    point = transform_points(invert_rigid(camera.ego2global @ camera.sensor2ego), np.array([11.0, -2, 3]))
    # The camera sits at (1, 0, 1): depth 10, 2 to the right, 2 up.
    np.testing.assert_allclose(point, [2, -2, 10], atol=1e-12)
    np.testing.assert_allclose(project(point, camera.intrinsic), [100, 25], atol=1e-9)


def test_bird_view_puts_forward_up_and_left_left():
    corner = to_canvas(np.array([[0.0, 0], [RANGE_M, 0], [0, RANGE_M]]))
    np.testing.assert_allclose(corner, [[CANVAS / 2, CANVAS / 2], [CANVAS / 2, 0], [0, CANVAS / 2]])


def test_points_that_are_not_finite_are_left_out(dataroot):
    assert read_points(dataroot / "samples/LIDAR_TOP/0.bin").tolist() == [[0, 5, pytest.approx(-1.8)], [1, 5, 0.5]]


def test_heights_beyond_the_stops_keep_the_end_colours():
    low, high = height_colors(np.array([-9.0, 99.0])).tolist()
    assert "#" + bytes(low).hex() == HEIGHT_STOPS[0][1]
    assert "#" + bytes(high).hex() == HEIGHT_STOPS[-1][1]


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [
        ([0.1, 0.3, 0.2], True, {1}),
        ([0.1, 0.3, 0.1], False, {0, 2}),
        ([0.1], True, set()),
        ([0.2, 0.2], True, set()),
        ([math.nan, 0.2], True, set()),
        ([math.nan, 0.2, 0.4], False, {1}),
    ],
)
def test_best_is_marked_where_something_stands_out(values, higher, best):
    assert best_of(values, higher) == best


def test_numbers_have_fixed_digits_and_a_dash_for_nan():
    assert [number(0.12345), number(1, 4), number(math.nan)] == ["0.123", "1.0000", "–"]
