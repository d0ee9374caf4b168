"""Augmentation of the whole scene: points, boxes, velocities and projections move together.

Every one of these is a 4x4 matrix; `move_scene` applies it to all that lives in the LiDAR frame. Images stay as
they are: `lidar2cam` takes the moved scene back to where the cameras saw it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS
from aqr_core.structures.boxes3d import DX, DZ, VX, VY, YAW, wrap_angle


def move_scene(frame: Frame, motion: np.ndarray) -> None:
    """Apply a (4, 4) motion: rotation about z, mirror in x or y, uniform scale, translation."""
    move_points(frame.points, motion)
    frame.gt_boxes = move_boxes(frame.gt_boxes, motion)
    frame.lidar2cam = frame.lidar2cam @ np.linalg.inv(motion)


def move_points(points: np.ndarray, motion: np.ndarray) -> None:
    """Move the x, y, z columns of (P, >=3) float32 points in place, by a (4, 4) motion.

    The product is one matmul; a mirror touches its own axis alone. What is added goes column by column: numpy's inner
    loop over rows of three takes three times as long.
    """
    linear, shift = motion[:3, :3].astype(np.float32), motion[:3, 3].astype(np.float32)
    scale = linear.diagonal()
    if (linear == np.diag(scale)).all():
        for axis in np.flatnonzero((scale != 1) | (shift != 0)).tolist():
            points[:, axis] *= scale[axis]
            points[:, axis] += shift[axis]
        return
    moved = points[:, :3] @ linear.T
    for axis in range(3):
        np.add(moved[:, axis], shift[axis], out=points[:, axis])


def move_boxes(boxes: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """(n, 9) boxes under a (4, 4) motion as in `move_scene`."""
    planar, scale = motion[:2, :2], np.linalg.norm(motion[:3, 0])
    moved = boxes.copy()
    moved[:, :3] = boxes[:, :3] @ motion[:3, :3].T + motion[:3, 3]
    moved[:, DX : DZ + 1] *= scale
    heading = np.stack([np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])], axis=1) @ planar.T
    moved[:, YAW] = wrap_angle(np.arctan2(heading[:, 1], heading[:, 0]))
    moved[:, VX : VY + 1] = boxes[:, VX : VY + 1] @ planar.T
    return moved


@TRANSFORMS.register_module()
class GlobalRotScaleTransAll:
    """Rotates about z, then scales, then shifts the scene.

    Unlike upstream, a frame without boxes is rotated too.

    Args:
        rot_range: (low, high) radians, counter-clockwise.
        scale_ratio_range: (low, high).
        translation_std: standard deviation per axis, metres.
    """

    def __init__(
        self,
        rot_range: Sequence[float] = (-0.785, 0.785),
        scale_ratio_range: Sequence[float] = (0.9, 1.1),
        translation_std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        if min(scale_ratio_range) <= 0 or len(translation_std) != 3:
            raise ConfigError(
                f"GlobalRotScaleTransAll needs positive scales and three stds, not "
                f"{scale_ratio_range} and {translation_std}."
            )
        self.rot_low, self.rot_high = rot_range
        self.scale_low, self.scale_high = scale_ratio_range
        self.translation_std = np.asarray(translation_std, np.float64)

    def __call__(self, frame: Frame) -> None:
        """Draws angle, scale and shift from the frame's generator."""
        angle = frame.rng.uniform(self.rot_low, self.rot_high)
        scale = frame.rng.uniform(self.scale_low, self.scale_high)
        motion = np.diag([scale, scale, scale, 1.0])
        motion[:2, :2] = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        motion[:3, 3] = frame.rng.normal(0.0, self.translation_std)
        move_scene(frame, motion)


@TRANSFORMS.register_module()
class GlobalRotScaleTransImage(GlobalRotScaleTransAll):
    """The milder augmentation of camera-only CMT: rotates and scales the scene, moves it nowhere.

    Boxes and cameras rotate the same way. Upstream's `reverse_angle` turns the boxes against the cameras with mmdet3d
    1.0 and later, whose boxes count yaw counter-clockwise; it was made for the clockwise yaw of mmdet3d 0.x.

    Args:
        rot_range: (low, high) radians, counter-clockwise.
        scale_ratio_range: (low, high).
    """

    def __init__(
        self, rot_range: Sequence[float] = (-0.3925, 0.3925), scale_ratio_range: Sequence[float] = (0.95, 1.05)
    ) -> None:
        super().__init__(rot_range, scale_ratio_range, translation_std=(0.0, 0.0, 0.0))


@TRANSFORMS.register_module()
class CustomRandomFlip3D:
    """Mirrors the scene, not the images.

    Args:
        flip_ratio_bev_horizontal: probability of y -> -y.
        flip_ratio_bev_vertical: probability of x -> -x.
    """

    def __init__(self, flip_ratio_bev_horizontal: float = 0.5, flip_ratio_bev_vertical: float = 0.5) -> None:
        for ratio in (flip_ratio_bev_horizontal, flip_ratio_bev_vertical):
            if not 0 <= ratio <= 1:
                raise ConfigError(f"CustomRandomFlip3D: a flip ratio is {ratio}; give a probability from 0 to 1.")
        self.flip_ratio_bev_horizontal = flip_ratio_bev_horizontal
        self.flip_ratio_bev_vertical = flip_ratio_bev_vertical

    def __call__(self, frame: Frame) -> None:
        """Two independent draws."""
        mirror_y = frame.rng.uniform() < self.flip_ratio_bev_horizontal
        mirror_x = frame.rng.uniform() < self.flip_ratio_bev_vertical
        if mirror_x or mirror_y:
            move_scene(frame, np.diag([-1.0 if mirror_x else 1.0, -1.0 if mirror_y else 1.0, 1.0, 1.0]))
