"""Quaternions (w, x, y, z) and rigid transforms, for one or many at once, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def quaternion_to_matrix(wxyz: ArrayLike) -> FloatArray:
    """(..., 4) quaternions of any non-zero length -> (..., 3, 3) rotation matrices."""
    q = np.asarray(wxyz, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrix: ArrayLike) -> FloatArray:
    """(..., 3, 3) rotation matrices -> (..., 4) unit quaternions with w >= 0."""
    m = np.asarray(matrix, dtype=np.float64)
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # Four times the outer product of the quaternion with itself, read off the matrix; its row with
    # the largest diagonal entry is the quaternion times a number that is safely away from zero.
    ww, xx, yy, zz = 1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    rows = [[ww, wx, wy, wz], [wx, xx, xy, xz], [wy, xy, yy, yz], [wz, xz, yz, zz]]
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    largest = np.argmax(np.stack([ww, xx, yy, zz], axis=-1), axis=-1)
    q = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def multiply_quaternions(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """(..., 4) x (..., 4) -> (..., 4): the rotation `right` followed by `left`."""
    a, b, c, d = np.moveaxis(np.asarray(left, dtype=np.float64), -1, 0)
    w, x, y, z = np.moveaxis(np.asarray(right, dtype=np.float64), -1, 0)
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )


def yaw_from_quaternion(wxyz: ArrayLike) -> FloatArray:
    """(..., 4) quaternions of any length -> (...) heading of the rotated x axis in the ground plane, radians.

    The all-zero quaternion has yaw 0, as in the devkit.
    """
    w, x, y, z = np.moveaxis(np.asarray(wxyz, dtype=np.float64), -1, 0)
    yaw: FloatArray = np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)
    return yaw


def yaw_to_quaternion(yaw_rad: ArrayLike) -> FloatArray:
    """(...) rotation about z, radians -> (..., 4) unit quaternions."""
    half = np.asarray(yaw_rad, dtype=np.float64) / 2
    zero = np.zeros_like(half)
    return np.stack([np.cos(half), zero, zero, np.sin(half)], axis=-1)


def pose_matrix(translation: ArrayLike, rotation_wxyz: ArrayLike) -> FloatArray:
    """(..., 3) metres and (..., 4) quaternions -> (..., 4, 4) `src2dst` of a pose given in the frame `dst`."""
    translation = np.asarray(translation, dtype=np.float64)
    matrix = np.zeros((*translation.shape[:-1], 4, 4))
    matrix[..., :3, :3] = quaternion_to_matrix(rotation_wxyz)
    matrix[..., :3, 3] = translation
    matrix[..., 3, 3] = 1.0
    return matrix


def transform_points(src2dst: FloatArray, points: FloatArray) -> FloatArray:
    """(4, 4) rigid transform applied to (..., 3) points."""
    moved: FloatArray = points @ src2dst[:3, :3].T + src2dst[:3, 3]
    return moved


def invert_rigid(src2dst: FloatArray) -> FloatArray:
    """Inverse of a (4, 4) rotation-translation matrix, exact where a general inverse is not."""
    dst2src = np.eye(4)
    dst2src[:3, :3] = src2dst[:3, :3].T
    dst2src[:3, 3] = -src2dst[:3, :3].T @ src2dst[:3, 3]
    return dst2src
