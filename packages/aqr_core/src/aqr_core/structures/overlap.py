"""Which boxes overlap on the ground, and which points lie in any of some boxes; exact, and fast for whole scenes."""

from __future__ import annotations

import numpy as np

from aqr_core.structures.boxes3d import DX, DY, YAW, X, points_in_boxes

_CELL_M = 0.5  # of the raster that finds candidates: a few cells per box, a few hundred thousand cells per scene


def overlaps_in_bev(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, >=7) and (m, >=7) boxes -> (n, m) bool: their footprints share an area. Touching is not overlapping.

    Separating-axis test: two rectangles are apart if and only if they are apart along a side of one of them.
    """
    towards = second[None, :, :2] - first[:, None, :2]  # (n, m, 2)
    turn = second[None, :, YAW] - first[:, None, YAW]
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    half, other_half = first[:, None, DX : DY + 1] / 2, second[None, :, DX : DY + 1] / 2
    return _meet_along_sides(towards, first[:, None, YAW], half, other_half, cos, sin) & _meet_along_sides(
        towards, second[None, :, YAW], other_half, half, cos, sin
    )


def _meet_along_sides(
    towards: np.ndarray, yaw: np.ndarray, half: np.ndarray, other_half: np.ndarray, cos: np.ndarray, sin: np.ndarray
) -> np.ndarray:
    """(n, m): the shadows of both rectangles meet on both axes of the one with this `yaw` and `half` size."""
    ahead = towards[..., 0] * np.cos(yaw) + towards[..., 1] * np.sin(yaw)
    aside = towards[..., 1] * np.cos(yaw) - towards[..., 0] * np.sin(yaw)
    other_ahead = other_half[..., 0] * cos + other_half[..., 1] * sin
    other_aside = other_half[..., 0] * sin + other_half[..., 1] * cos
    return (np.abs(ahead) < half[..., 0] + other_ahead) & (np.abs(aside) < half[..., 1] + other_aside)


def points_in_any_box(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P, >=3) points, (n, >=7) boxes in one frame -> (P,) bool: in at least one box, faces included.

    A raster over the ground marks the cells that the boxes may reach; one pass over the points leaves those in marked
    cells, and each box looks exactly at those in its own strip along y.
    """
    inside = np.zeros(len(points), bool)
    if not len(boxes):
        return inside
    near = np.flatnonzero(_in_reach(points, boxes))
    candidates = points[near, :3]
    x = np.ascontiguousarray(candidates[:, 0])
    for box, reach in zip(boxes, _reach(boxes), strict=True):
        strip = np.flatnonzero(np.abs(x - x.dtype.type(box[X])) < reach)
        inside[near[strip]] |= points_in_boxes(candidates[strip], box[None])[:, 0]
    return inside


def _reach(boxes: np.ndarray) -> np.ndarray:
    """(n,) radius of the circle around every footprint, with a margin for points in float32."""
    return np.hypot(boxes[:, DX], boxes[:, DY]) / 2 + 0.01


def _in_reach(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P,) bool, true at least for every point in the square around a footprint."""
    centre, reach = boxes[:, :2], _reach(boxes)[:, None]
    origin = (centre - reach).min(axis=0) - _CELL_M  # the border of empty cells takes all points beyond
    low = ((centre - reach - origin) / _CELL_M).astype(int)
    high = ((centre + reach - origin) / _CELL_M).astype(int) + 1
    marked = np.zeros(high.max(axis=0) + 1, bool)
    for (left, near), (right, far) in zip(low, high, strict=True):
        marked[left:right, near:far] = True
    column, row = (_cell(points[:, axis], origin[axis], marked.shape[axis]) for axis in (0, 1))
    column *= marked.shape[1]
    column += row
    return marked.ravel().take(column)


def _cell(coordinate: np.ndarray, origin: float, count: int) -> np.ndarray:
    """(P,) index of the cell along one axis, clipped to the raster."""
    cell = coordinate - coordinate.dtype.type(origin)
    cell *= 1 / _CELL_M
    np.clip(cell, 0, count - 1, out=cell)
    return cell.astype(np.int32)
