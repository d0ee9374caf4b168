"""Rays against boxes and ground, for sensors that are level.

A level sensor's rays form a grid: the column fixes the direction in the ground plane and the row
fixes the slope, so ray (r, c) passes through `(t * heading[c], t * slope[r])` for t > 0. With boxes
that stand upright, the test against the four walls then depends on the column alone and the test
against floor and roof on the row alone; a box costs one outer maximum over the few rows and columns
that can meet it. LiDAR and cameras differ only in what t means: horizontal distance, or depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GROUND, NOTHING = -1, -2
FRONT, BACK, LEFT, RIGHT, ROOF, FLOOR = range(6)


@dataclass(frozen=True)
class RayGrid:
    """The rays of a level sensor, in the sensor's own frame of x along the mount's yaw, y left, z up.

    Args:
        headings: (C, 2) direction in the ground plane per unit of t.
        slopes: (R,) rise per unit of t.
    """

    headings: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True)
class Solids:
    """Upright boxes at one instant, in the world frame; the boxes of one object are adjacent.

    Args:
        centre: (M, 3) metres.
        half: (M, 3) half extents along heading, left, up.
        yaw: (M,) radians.
        owner: (M,) index of the object that a box is a part of.
    """

    centre: np.ndarray
    half: np.ndarray
    yaw: np.ndarray
    owner: np.ndarray


@dataclass(frozen=True)
class Hits:
    """The nearest thing on each ray.

    Args:
        t: (R, C) float32 ray parameter; inf where nothing is hit.
        solid: (R, C) int32 index of the box, GROUND or NOTHING.
        silhouette: (objects,) number of rays that would meet each object if it stood alone.
        wall: (M, C) int8 wall through which a column would enter a box.
        wall_t: (M, C) float32 parameter at which it would.
        lid: (R,) int8 ROOF for rows that look down, FLOOR for rows that look up.
    """

    t: np.ndarray
    solid: np.ndarray
    silhouette: np.ndarray
    wall: np.ndarray
    wall_t: np.ndarray
    lid: np.ndarray

    def faces(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Which of the six faces the rays (rows, columns) meet; all of them must have hit a box."""
        solid = self.solid[rows, columns]
        through_wall = self.t[rows, columns] == self.wall_t[solid, columns]
        return np.where(through_wall, self.wall[solid, columns], self.lid[rows])


def cast(grid: RayGrid, position: np.ndarray, yaw: float, solids: Solids, objects: int) -> Hits:
    """Nearest hit of every ray with the boxes and the ground plane z = 0.

    Args:
        grid: the sensor's rays.
        position: (3,) sensor in the world frame, above the ground and outside of all boxes.
        yaw: heading of the sensor's x axis, radians.
        solids: the boxes.
        objects: number of objects that the boxes are parts of.
    """
    wall_enter, wall_exit, wall = _between_walls(grid.headings, position, yaw, solids)
    slab_enter, slab_exit = _between_floor_and_roof(grid.slopes, position[2], solids)
    rows, columns = len(grid.slopes), len(grid.headings)

    with np.errstate(divide="ignore"):
        ground = np.where(grid.slopes < 0, -position[2] / grid.slopes, np.inf).astype(np.float32)
    t = np.repeat(ground[:, None], columns, axis=1)
    solid = np.repeat(np.where(grid.slopes < 0, GROUND, NOTHING).astype(np.int32)[:, None], columns, axis=1)
    last_owner = np.full((rows, columns), -1, dtype=np.int32)
    silhouette = np.zeros(objects, dtype=np.int64)

    met = (wall_enter <= wall_exit) & (wall_exit > 0)
    for m in np.flatnonzero(met.any(axis=1)):
        c = _span(met[m])
        r = _span((slab_enter[m] <= wall_exit[m, c].max()) & (slab_exit[m] >= wall_enter[m, c].min()))
        if r.start == r.stop:
            continue
        enter = np.maximum(slab_enter[m, r, None], wall_enter[m, c])
        hit = enter <= np.minimum(slab_exit[m, r, None], wall_exit[m, c])
        owner = solids.owner[m]
        silhouette[owner] += np.count_nonzero(hit & (last_owner[r, c] != owner))
        last_owner[r, c][hit] = owner
        hit &= enter < t[r, c]
        np.copyto(t[r, c], enter, where=hit)
        solid[r, c][hit] = m
    lid = np.where(grid.slopes < 0, ROOF, FLOOR).astype(np.int8)
    return Hits(t, solid, silhouette, wall, wall_enter, lid)


def _span(mask: np.ndarray) -> slice:
    """The smallest slice that holds every True of a 1-D mask."""
    (inside,) = np.nonzero(mask)
    return slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0)


def _between_walls(
    headings: np.ndarray, position: np.ndarray, yaw: float, solids: Solids
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M, C) parameters of entry and exit in the ground plane, and the wall of entry; a miss has entry > exit."""
    turn = yaw - solids.yaw[:, None]
    cos, sin = np.cos(turn), np.sin(turn)
    direction_x = (cos * headings[:, 0] - sin * headings[:, 1]).astype(np.float32)  # (M, C)
    direction_y = (sin * headings[:, 0] + cos * headings[:, 1]).astype(np.float32)
    delta = position[:2] - solids.centre[:, :2]
    cos, sin = np.cos(solids.yaw), np.sin(solids.yaw)
    origin_x = cos * delta[:, 0] + sin * delta[:, 1]
    origin_y = -sin * delta[:, 0] + cos * delta[:, 1]

    enter_x, exit_x = _slab(origin_x, direction_x, solids.half[:, 0])
    enter_y, exit_y = _slab(origin_y, direction_y, solids.half[:, 1])
    wall = np.where(
        enter_x >= enter_y,
        np.where(direction_x < 0, np.int8(FRONT), np.int8(BACK)),
        np.where(direction_y < 0, np.int8(LEFT), np.int8(RIGHT)),
    )
    enter, leave = np.maximum(enter_x, enter_y), np.minimum(exit_x, exit_y)
    # Entry behind the sensor means a miss: the sensor is outside, so the box lies behind it.
    return np.where(enter > 0, enter, np.float32(np.inf)), leave, wall


def _between_floor_and_roof(slopes: np.ndarray, height: float, solids: Solids) -> tuple[np.ndarray, np.ndarray]:
    """(M, R) parameters of entry and exit in height."""
    direction = np.broadcast_to(slopes.astype(np.float32), (len(solids.half), len(slopes)))
    return _slab(height - solids.centre[:, 2], direction, solids.half[:, 2])


def _slab(origin: np.ndarray, direction: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit of `origin + t * direction` and [-half, half]; (M,), (M, K), (M,) -> two (M, K)."""
    tiny = np.float32(1e-9)  # a ray parallel to the slab meets its planes very far away, on the proper sides
    direction = np.where(np.abs(direction) < tiny, tiny, direction)
    first = ((-half - origin)[:, None]).astype(np.float32) / direction
    second = ((half - origin)[:, None]).astype(np.float32) / direction
    return np.minimum(first, second), np.maximum(first, second)
