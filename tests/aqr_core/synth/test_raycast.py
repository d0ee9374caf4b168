from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.synth.raycast import BACK, FLOOR, GROUND, LEFT, NOTHING, ROOF, RayGrid, Solids, cast


def solids(*rows):
    """Rows of (x, y, z, half length, half width, half height, yaw), one object each."""
    rows = np.array(rows, dtype=float)
    return Solids(rows[:, :3], rows[:, 3:6], rows[:, 6], np.arange(len(rows)))


def one_ray(heading, slope, height, boxes):
    grid = RayGrid(np.array([heading], dtype=float), np.array([slope], dtype=float))
    return cast(grid, np.array([0.0, 0.0, height]), 0.0, boxes, len(boxes.yaw))


def test_a_box_ahead_is_met_at_its_back_wall():
    hits = one_ray((1, 0), 0.0, 1.0, solids((10, 0, 1, 1, 1, 1, 0)))
    assert hits.t[0, 0] == 9.0
    assert hits.solid[0, 0] == 0
    assert hits.faces(np.array([0]), np.array([0])).tolist() == [BACK]


def test_a_box_that_heads_to_the_left_shows_its_left_side():
    hits = one_ray((1, 0), 0.0, 1.0, solids((10, 0, 1, 3, 1, 1, np.pi / 2)))  # its left is -x, where the sensor is
    np.testing.assert_allclose(hits.t[0, 0], 9.0, rtol=1e-6)
    assert hits.faces(np.array([0]), np.array([0])).tolist() == [LEFT]


def test_rays_meet_roofs_from_above_and_floors_from_below():
    from_above = one_ray((1, 0), -0.2, 3.0, solids((10, 0, 0.5, 4, 1, 0.5, 0)))
    np.testing.assert_allclose(from_above.t[0, 0], 10.0, rtol=1e-6)  # falls from 3 m to 1 m
    assert from_above.faces(np.array([0]), np.array([0])).tolist() == [ROOF]
    from_below = one_ray((1, 0), 0.1, 1.0, solids((10, 0, 3, 4, 1, 1, 0)))
    np.testing.assert_allclose(from_below.t[0, 0], 10.0, rtol=1e-6)  # climbs from 1 m to 2 m
    assert from_below.faces(np.array([0]), np.array([0])).tolist() == [FLOOR]


def test_without_a_box_in_the_way_rays_end_on_the_ground_or_nowhere():
    boxes = solids((-10, 0, 1, 1, 1, 1, 0))  # behind
    down = one_ray((1, 0), -0.1, 2.0, boxes)
    np.testing.assert_allclose(down.t[0, 0], 20.0, rtol=1e-6)
    assert down.solid[0, 0] == GROUND
    up = one_ray((1, 0), 0.0, 2.0, boxes)
    assert np.isinf(up.t[0, 0])
    assert up.solid[0, 0] == NOTHING


def test_the_nearer_box_wins_in_either_order_and_the_silhouette_counts_both():
    near, far = (10, 0, 1, 1, 1, 1, 0), (20, 0, 1, 1, 1, 1, 0)
    for order, winner in (((near, far), 0), ((far, near), 1)):
        hits = one_ray((1, 0), 0.0, 1.0, solids(*order))
        assert hits.t[0, 0] == 9.0
        assert hits.solid[0, 0] == winner
        assert hits.silhouette.tolist() == [1, 1]


def test_pieces_of_one_object_count_once_in_its_silhouette():
    boxes = solids((10, 0, 1, 1, 1, 1, 0), (12, 0, 1, 1, 1, 1, 0))
    together = Solids(boxes.centre, boxes.half, boxes.yaw, np.zeros(2, dtype=int))
    grid = RayGrid(np.array([[1.0, 0.0]]), np.array([0.0]))
    assert cast(grid, np.array([0.0, 0.0, 1.0]), 0.0, together, 1).silhouette.tolist() == [1]


def brute_force(grid, position, yaw, boxes):
    """Nearest t per ray by the textbook slab test in three dimensions, one box and one ray at a time."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    nearest = np.full((len(grid.slopes), len(grid.headings)), np.inf)
    for r, slope in enumerate(grid.slopes):
        for c, (x, y) in enumerate(grid.headings):
            direction = np.array([cos * x - sin * y, sin * x + cos * y, slope])
            if slope < 0:
                nearest[r, c] = -position[2] / slope
            for centre, half, turn in zip(boxes.centre, boxes.half, boxes.yaw, strict=True):
                to_box = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
                o, d = to_box @ (position - centre), to_box @ direction
                a, b = (-half - o) / d, (half - o) / d
                enter, leave = np.minimum(a, b).max(), np.maximum(a, b).min()
                if 0 < enter <= leave:
                    nearest[r, c] = min(nearest[r, c], enter)
    return nearest


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_agrees_with_the_textbook_test(seed):
    rng = np.random.default_rng(seed)
    azimuth = rng.uniform(-np.pi, np.pi, 12)
    grid = RayGrid(np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1), rng.uniform(-0.5, 0.2, 6))
    position = np.array([*rng.uniform(500, 510, 2), 1.84])
    bearing, distance = rng.uniform(-np.pi, np.pi, 8), rng.uniform(6, 30, 8)
    half = rng.uniform(0.2, 2.5, (8, 3))
    centre = np.stack([distance * np.cos(bearing), distance * np.sin(bearing), half[:, 2]], axis=1)
    centre[:, :2] += position[:2]
    boxes = Solids(centre, half, rng.uniform(-4, 4, 8), np.arange(8))
    yaw = rng.uniform(-np.pi, np.pi)
    t, expected = cast(grid, position, yaw, boxes, 8).t, brute_force(grid, position, yaw, boxes)
    # A ray that grazes an edge may fall on either side of it in float32.
    assert np.isclose(t, expected, rtol=1e-4).mean() >= 0.98
