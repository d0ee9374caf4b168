"""The sensors of the synthetic vehicle: a rounded, level version of the nuScenes rig.

Every sensor is mounted with a yaw and no roll or pitch, and the ground is flat, so all of them are
level at all times; `raycast` relies on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aqr_eval.nuscenes.classes import LIDAR
from aqr_eval.nuscenes.geometry import multiply_quaternions, yaw_to_quaternion

NATIVE_WIDTH_PX = 1600
KEYFRAME_PERIOD_US = 500_000
LIDAR_PERIOD_US = 50_000
SWEEPS_PER_KEYFRAME = KEYFRAME_PERIOD_US // LIDAR_PERIOD_US

# Velodyne HDL-32E: 32 rings, evenly spaced, ring 0 looks down most.
RING_ELEVATIONS_RAD = np.deg2rad(np.linspace(-30.67, 10.67, 32))

# Camera axes (x right, y down, z forward) expressed in a frame of x forward, y left, z up.
_OPTICAL_WXYZ = np.array([0.5, -0.5, 0.5, -0.5])


@dataclass(frozen=True)
class Mount:
    """Where a sensor sits on the vehicle.

    Args:
        position_m: (x forward, y left, z up) in the ego frame.
        yaw_rad: heading of the camera's view, or of the LiDAR's x axis, in the ego frame.
    """

    position_m: tuple[float, float, float]
    yaw_rad: float


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: mount, native intrinsics for 1600 px width, and when it fires.

    Args:
        mount: position and viewing direction.
        focal_px: focal length at the native width.
        centre_px: principal point (u, v) at the native width.
        delay_us: trigger time relative to the LiDAR keyframe; negative is earlier.
    """

    mount: Mount
    focal_px: float
    centre_px: tuple[float, float]
    delay_us: int

    def intrinsic(self, width_px: int) -> np.ndarray:
        """(3, 3) camera matrix of an image that is `width_px` wide; pixel i covers [i, i + 1)."""
        scale = width_px / NATIVE_WIDTH_PX
        matrix = np.diag([self.focal_px * scale, self.focal_px * scale, 1.0])
        matrix[:2, 2] = np.array(self.centre_px) * scale
        return matrix

    @property
    def rotation_wxyz(self) -> np.ndarray:
        """(4,) camera-to-ego quaternion."""
        return multiply_quaternions(yaw_to_quaternion(self.mount.yaw_rad), _OPTICAL_WXYZ)


LIDAR_MOUNT = Mount((0.94, 0.0, 1.84), -np.pi / 2)

# The LiDAR sweeps clockwise past one camera after the other, and each fires as it passes.
CAMERAS: dict[str, Camera] = {
    "CAM_FRONT": Camera(Mount((1.70, 0.0, 1.51), 0.0), 1260.0, (816.0, 480.0), -38_000),
    "CAM_FRONT_RIGHT": Camera(Mount((1.55, -0.50, 1.50), np.deg2rad(-56.0)), 1260.0, (812.0, 476.0), -30_000),
    "CAM_FRONT_LEFT": Camera(Mount((1.55, 0.50, 1.51), np.deg2rad(55.5)), 1260.0, (822.0, 474.0), -46_000),
    "CAM_BACK": Camera(Mount((0.04, 0.0, 1.56), np.pi), 800.0, (830.0, 482.0), -14_000),
    "CAM_BACK_LEFT": Camera(Mount((1.04, 0.48, 1.58), np.deg2rad(108.5)), 1255.0, (800.0, 480.0), -4_000),
    "CAM_BACK_RIGHT": Camera(Mount((1.04, -0.47, 1.56), np.deg2rad(-110.5)), 1255.0, (806.0, 472.0), -22_000),
}

CHANNELS: tuple[str, ...] = (LIDAR, *CAMERAS)
