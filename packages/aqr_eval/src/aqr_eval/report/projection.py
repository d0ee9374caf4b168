"""From a global 3D box to line segments on an image: corners, near plane, pinhole, image frame.

Segments are clipped in 3D before they are divided by depth: an edge that passes through the camera plane would
otherwise turn inside out, and a box behind the camera would show up mirrored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.geometry import quaternion_to_matrix, transform_points

Array = NDArray[np.float64]

NEAR_PLANE_M = 0.1

# Corners 0-3 are the front face (+x, along the heading), 4-7 the back face, in the same order around the axis.
_CORNER_SIGNS = np.array(
    [[1, 1, 1], [1, -1, 1], [1, -1, -1], [1, 1, -1], [-1, 1, 1], [-1, -1, 1], [-1, -1, -1], [-1, 1, -1]], dtype=float
)
EDGES = np.array(
    [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]], dtype=np.int64
)


def box_corners(translation: Array, size_wlh: Array, rotation_wxyz: Array) -> Array:
    """Corners of nuScenes boxes: length along the box's x axis, width along y, height along z.

    Args:
        translation: (N, 3) centres in metres.
        size_wlh: (N, 3) width, length, height in metres.
        rotation_wxyz: (N, 4) quaternions that turn box axes into the frame of the centres.

    Returns:
        (N, 8, 3) corners in the frame of the centres, in the order that `EDGES` indexes.
    """
    offsets = _CORNER_SIGNS * (size_wlh[:, None, [1, 0, 2]] / 2)
    return offsets @ quaternion_to_matrix(rotation_wxyz).transpose(0, 2, 1) + translation[:, None]


def project(points: Array, intrinsic: Array) -> Array:
    """(..., 3) camera points of positive depth -> (..., 2) pixels, by a (3, 3) pinhole matrix."""
    image = points @ intrinsic.T
    return image[..., :2] / image[..., 2:]


def clip_near(segments: Array, near_m: float = NEAR_PLANE_M) -> tuple[Array, NDArray[np.bool_]]:
    """Cut 3D segments at the plane depth = near.

    Args:
        segments: (..., 2, 3) end points in a camera frame, z is depth in metres.
        near_m: depth of the plane.

    Returns:
        (..., 2, 3) segments whose end points have depth >= near where kept, and the (...) mask of the kept ones;
        a segment entirely in front of the plane stays as it is, one entirely behind it is dropped.
    """
    start, end = segments[..., 0, :], segments[..., 1, :]
    depth = segments[..., 2]
    behind = depth < near_m
    crosses = behind[..., 0] != behind[..., 1]
    share = (near_m - depth[..., 0]) / np.where(crosses, depth[..., 1] - depth[..., 0], 1.0)
    crossing = start + share[..., None] * (end - start)
    crossing[..., 2] = near_m
    return np.where(behind[..., None], crossing[..., None, :], segments), np.asarray(~behind.all(axis=-1))


def clip_to_frame(segments: Array, width: float, height: float) -> tuple[Array, NDArray[np.bool_]]:
    """Cut 2D segments at the rectangle [0, width] x [0, height] (Liang and Barsky, 1984).

    Args:
        segments: (..., 2, 2) end points in pixels.
        width: right edge.
        height: lower edge.

    Returns:
        (..., 2, 2) clipped segments and the (...) mask of those that touch the rectangle.
    """
    start = segments[..., 0, :]
    step = segments[..., 1, :] - start
    slope = np.concatenate([-step, step], axis=-1)
    room = np.concatenate([start, np.array([width, height]) - start], axis=-1)
    slope[np.abs(slope) < 1e-9] = 0.0  # a billionth of a pixel counts as parallel, or the division could overflow
    parallel = slope == 0
    limit = room / np.where(parallel, 1.0, slope)
    enter = np.where(slope < 0, limit, 0.0).max(axis=-1).clip(min=0.0)
    leave = np.where(slope > 0, limit, 1.0).min(axis=-1).clip(max=1.0)
    inside = (enter <= leave) & ~(parallel & (room < 0)).any(axis=-1)
    ends = np.stack([enter, leave], axis=-1)[..., None]
    return start[..., None, :] + ends * step[..., None, :], inside


def box_segments(
    corners: Array, corners2camera: Array, intrinsic: Array, width: float, height: float
) -> tuple[Array, NDArray[np.bool_]]:
    """The visible parts of the twelve edges of boxes on an image.

    Args:
        corners: (N, 8, 3) from `box_corners`, any frame.
        corners2camera: (4, 4) the corners' frame -> camera.
        intrinsic: (3, 3) pinhole matrix in pixels.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        (N, 12, 2, 2) segments in pixels and the (N, 12) mask of the visible ones.
    """
    edges = transform_points(corners2camera, corners)[:, EDGES]
    clipped, in_front = clip_near(edges)
    # Dropped segments may hold a zero depth; any positive depth keeps the division quiet.
    pixels = project(np.where(in_front[..., None, None], clipped, 1.0), intrinsic)
    segments, in_frame = clip_to_frame(pixels, width, height)
    return segments, in_front & in_frame
