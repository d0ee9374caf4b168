"""Rigid transforms between frames, named `src2dst`: `dst = src2dst @ (x, y, z, 1)`."""

from __future__ import annotations

import numpy as np

from aqr_eval.nuscenes.geometry import invert_rigid, transform_points

__all__ = ["invert_rigid", "lidar2img_from", "project_points", "transform_points"]


def lidar2img_from(cam2img: np.ndarray, lidar2cam: np.ndarray) -> np.ndarray:
    """(3, 3) intrinsics and (4, 4) `lidar2cam` -> (4, 4) projection, pixels times depth."""
    projection = np.eye(4)
    projection[:3, :3] = cam2img
    return projection @ lidar2cam


def project_points(lidar2img: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and depths of (P, 3) points.

    Returns:
        pixels: (P, 2) u, v in px; meaningless where depth <= 0.
        depth: (P,) metres along the optical axis.
    """
    projected = transform_points(lidar2img, np.asarray(points, dtype=np.float64))
    depth = projected[:, 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    return projected[:, :2] / safe[:, None], depth
