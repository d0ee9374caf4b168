"""Sensors that are not where the calibration says: cameras by nuScenes-R, the LiDAR by MultiCorrupt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aqr_core.data.faults.fault import CameraFault, RawPointFault, checked_probability
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.scene import move_points
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS
from aqr_core.structures.frames import invert_rigid


@TRANSFORMS.register_module()
class CameraMisalignment(CameraFault):
    """The calibration of the cameras is off: their rotation about a random axis, their place along all three.

    Source: nuScenes-R: 1 to 5 degrees with a random sign, and 0.5 to 1 cm per axis with random signs, on the pose of
    the camera on the vehicle. Its toolkit turns degrees into radians by pi / 360, so that it turns by half of what it
    says; the default does the same. The rotation turns the camera about its own centre, the axis is one of all
    directions alike. (The toolkit draws it once for all of val and ships the draws; ours are others of the same
    distribution.)

    Args:
        angle_deg: lowest and highest angle, before it is halved.
        shift_m: lowest and highest shift per axis of the vehicle.
        shared: all cameras of a keyframe move alike ('all' in the toolkit), or each for itself ('single').
        half_angle: turn by half the angle, as published; False turns by all of it.
        seed: of the draws.
    """

    def __init__(
        self,
        angle_deg: Sequence[float] = (1.0, 5.0),
        shift_m: Sequence[float] = (0.005, 0.01),
        *,
        shared: bool = False,
        half_angle: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        for name, limits in (("angle_deg", angle_deg), ("shift_m", shift_m)):
            if len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
                raise ConfigError(f"CameraMisalignment: {name} is {limits}; give two ascending numbers from 0 up.")
        self.angle_low, self.angle_high = angle_deg
        self.shift_low, self.shift_high = shift_m
        self.shared = shared
        self.half_angle = half_angle

    def strike(self, frame: Frame, seed: int) -> None:
        """Changes `lidar2cam`; the images stay."""
        self.check_images(frame)
        to_lidar = frame.info.lidar.lidar2ego[:3, :3].T
        for i, camera in enumerate(frame.info.cameras):
            rng = self.draws(seed, frame.info.token, "" if self.shared else camera)
            turn, shift, angle_deg = self._draw(rng)
            # The draws are in the vehicle's frame; the pose of the camera is known in the LiDAR's.
            pose = invert_rigid(frame.lidar2cam[i])
            pose[:3, :3] = to_lidar @ turn @ to_lidar.T @ pose[:3, :3]
            pose[:3, 3] += to_lidar @ shift
            frame.lidar2cam[i] = invert_rigid(pose)
            share = 1 / len(frame.info.cameras)
            self.report(frame, mean_angle_deg=share * angle_deg, mean_shift_m=share * float(np.linalg.norm(shift)))

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """(3, 3) rotation, (3,) shift and the angle of the rotation in degrees."""
        axis = rng.normal(size=3)
        angle_deg = rng.uniform(self.angle_low, self.angle_high) * (0.5 if self.half_angle else 1.0)
        signs = rng.choice((-1.0, 1.0), size=4)
        shift = rng.uniform(self.shift_low, self.shift_high, size=3) * signs[1:]
        return rotation(axis, signs[0] * np.radians(angle_deg)), shift, angle_deg


@TRANSFORMS.register_module()
class LidarMisalignment(RawPointFault):
    """Some LiDAR turns are rotated about all three axes and shifted to the right.

    Source: MultiCorrupt: with probability 0.2, 0.4, 0.6 by 1, 2, 3 degrees about x, y and z, clockwise, and 2 m along
    x; the keyframe and every sweep draw for themselves.

    Args:
        probability: that a turn is struck; a larger one strikes the same turns and more.
        angle_deg: about each axis; z first, then y, then x.
        shift_m: along x.
        seed: of the draws.
    """

    def __init__(self, probability: float, angle_deg: float, shift_m: float = 2.0, seed: int = 0) -> None:
        super().__init__(seed)
        self.probability = checked_probability("LidarMisalignment", probability)
        x, y, z = (rotation(axis, -np.radians(angle_deg)) for axis in np.eye(3))
        self.motion = np.eye(4)
        self.motion[:3, :3] = x @ y @ z
        self.motion[0, 3] = shift_m

    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves all points or none."""
        if rng.uniform() >= self.probability:
            return points
        moved = points.copy()
        move_points(moved, self.motion)
        return moved


def rotation(axis: np.ndarray, angle_rad: float) -> np.ndarray:
    """(3, 3) rotation about a (3,) axis of any length, counter-clockwise (Rodrigues' formula)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
