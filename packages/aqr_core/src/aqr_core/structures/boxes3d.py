"""The one box convention of the project, and every conversion at its edges.

A box is a row of 9 numbers in the LiDAR frame (x right, y forward, z up; metres, radians, m/s)::

    x, y, z      gravity centre
    dx, dy, dz   full size along the heading, across it, and up
    yaw          counter-clockwise from +x
    vx, vy       velocity; NaN where unknown

Other conventions exist only at the edges, behind functions named after both formats.
"""

from __future__ import annotations

import numpy as np

BOX_DIM = 9
X, Y, Z, DX, DY, DZ, YAW, VX, VY = range(BOX_DIM)

# Corner order: bottom face counter-clockwise seen from above, starting at front-left (+x heading,
# +y left), then the top face in the same order.
_CORNER_SIGNS = np.array(
    [[1, 1, -1], [-1, 1, -1], [-1, -1, -1], [1, -1, -1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1], [1, -1, 1]],
    dtype=np.float64,
)


def wrap_angle(angle_rad: np.ndarray) -> np.ndarray:
    """Angle(s) wrapped to [-pi, pi)."""
    return (np.asarray(angle_rad) + np.pi) % (2 * np.pi) - np.pi


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """(n, >=7) boxes -> (n, 8, 3) corners in the same frame."""
    boxes = np.asarray(boxes)
    offsets = _CORNER_SIGNS * boxes[:, None, DX : DZ + 1] / 2  # (n, 8, 3)
    cos, sin = np.cos(boxes[:, YAW, None]), np.sin(boxes[:, YAW, None])
    x = cos * offsets[..., 0] - sin * offsets[..., 1]
    y = sin * offsets[..., 0] + cos * offsets[..., 1]
    return np.stack([x, y, offsets[..., 2]], axis=-1) + boxes[:, None, :3]


def points_in_boxes(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P, >=3) points, (n, >=7) boxes in one frame -> (P, n) bool, faces included."""
    points, boxes = np.asarray(points), np.asarray(boxes)
    delta = points[:, None, :3] - boxes[None, :, :3]  # (P, n, 3)
    cos, sin = np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])
    local_x = cos * delta[..., 0] + sin * delta[..., 1]
    local_y = -sin * delta[..., 0] + cos * delta[..., 1]
    half = boxes[:, DX : DZ + 1] / 2
    return (np.abs(local_x) <= half[:, 0]) & (np.abs(local_y) <= half[:, 1]) & (np.abs(delta[..., 2]) <= half[:, 2])


def gravity_to_bottom(boxes: np.ndarray) -> np.ndarray:
    """Gravity centre -> bottom centre (the internal form of mmdet3d's LiDAR boxes)."""
    boxes = np.array(boxes, copy=True)
    boxes[..., Z] -= boxes[..., DZ] / 2
    return boxes


def bottom_to_gravity(boxes: np.ndarray) -> np.ndarray:
    """Bottom centre -> gravity centre."""
    boxes = np.array(boxes, copy=True)
    boxes[..., Z] += boxes[..., DZ] / 2
    return boxes


def size_to_wlh(sizes: np.ndarray) -> np.ndarray:
    """(..., 3) sizes (dx, dy, dz) -> nuScenes (width, length, height)."""
    return np.asarray(sizes)[..., [1, 0, 2]]


def wlh_to_size(wlh: np.ndarray) -> np.ndarray:
    """(..., 3) nuScenes (width, length, height) -> sizes (dx, dy, dz)."""
    return np.asarray(wlh)[..., [1, 0, 2]]


def legacy_wlh_to_box(boxes: np.ndarray) -> np.ndarray:
    """mmdet3d < 1.0 rows (x, y, z, w, l, h, -yaw - pi/2, ...) -> our rows; velocity columns untouched."""
    boxes = np.array(boxes, copy=True)
    boxes[..., [DX, DY]] = boxes[..., [DY, DX]]
    boxes[..., YAW] = wrap_angle(-boxes[..., YAW] - np.pi / 2)
    return boxes
