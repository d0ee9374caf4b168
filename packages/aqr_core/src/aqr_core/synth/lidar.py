"""A LiDAR scan of the world: 32 rings, all rays of a turn at one instant, with noise on range and intensity."""

from __future__ import annotations

import numpy as np

from aqr_core.structures.boxes3d import DX, YAW, X, Y
from aqr_core.synth.raycast import GROUND, NOTHING, RayGrid, cast
from aqr_core.synth.rig import LIDAR_MOUNT, RING_ELEVATIONS_RAD
from aqr_core.synth.world import SKIN_M, World

_RANGE_NOISE_M = 0.01
_GROUND_NOISE_M = 0.01
_GROUND_REFLECTIVITY = 8.0
_INTENSITY_NOISE = 5.0
# Lamps and plates make the front of a vehicle reflect otherwise than its back. Here intensity rises by this share from
# the middle of an object to its front and falls towards its back, which is how the LiDAR sees the heading.
_FRONT_GAIN = 0.3


class Lidar:
    """The roof LiDAR.

    Args:
        azimuths: rays per ring.
        range_m: returns from beyond are lost.
    """

    def __init__(self, azimuths: int, range_m: float) -> None:
        self._azimuths = azimuths
        self._range_m = range_m
        self._slopes = np.tan(RING_ELEVATIONS_RAD)
        self._stretch = 1 / np.cos(RING_ELEVATIONS_RAD)  # range per horizontal distance

    def scan(self, world: World, t: float, rng: np.random.Generator) -> np.ndarray:
        """(P, 5) float32 rows x, y, z, intensity (0..255), ring (0 lowest) in the LiDAR frame at time t."""
        phase = rng.uniform(0, 2 * np.pi / self._azimuths)  # the turn does not start at the same angle each time
        azimuth = phase + np.arange(self._azimuths) * (2 * np.pi / self._azimuths)
        headings = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
        position = world.ego.mounted(LIDAR_MOUNT.position_m, t)
        yaw = world.ego.yaw(t) + LIDAR_MOUNT.yaw_rad
        solids = world.solids(t)
        hits = cast(RayGrid(headings, self._slopes), position, yaw, solids, len(world.things))

        returned = (hits.solid != NOTHING) & (hits.t * self._stretch[:, None] <= self._range_m)
        column, ring = np.nonzero(returned.T)  # column by column, as the rings fire
        solid = hits.solid[ring, column]
        noise = rng.normal(0, _RANGE_NOISE_M, len(ring)).clip(-0.75 * SKIN_M, 0.75 * SKIN_M)
        distance = hits.t[ring, column] + noise / self._stretch[ring]

        points = np.empty((len(ring), 5), dtype=np.float32)
        points[:, :2] = headings[column] * distance[:, None]
        points[:, 2] = self._slopes[ring] * distance
        on_ground = solid == GROUND
        points[on_ground, 2] += rng.normal(0, _GROUND_NOISE_M, np.count_nonzero(on_ground))
        owner = np.where(on_ground, GROUND, solids.owner[solid])
        forward = _towards_front(world.boxes(t), position, yaw, points, owner)
        points[:, 3] = self._intensity(world, owner, forward, rng)
        points[:, 4] = ring
        return points

    def _intensity(self, world: World, owner: np.ndarray, forward: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # The ground is the last entry, where its index -1 finds it.
        reflectivity = np.array([*(thing.reflectivity for thing in world.things), _GROUND_REFLECTIVITY])
        mean = reflectivity[owner] * (1 + _FRONT_GAIN * forward)
        return (mean + rng.normal(0, _INTENSITY_NOISE, len(owner))).round().clip(0, 255)


def _towards_front(
    boxes: np.ndarray, position: np.ndarray, yaw: float, points: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """(P,) place of each return along its object: -1 at the back, 1 at the front; 0 on the ground.

    Args:
        boxes: (n, 9) of the objects in the world frame.
        position: (3,) of the LiDAR in the world frame.
        yaw: of the LiDAR in the world frame.
        points: (P, >=2) in the LiDAR frame.
        owner: (P,) object of each return, `GROUND` for the ground.
    """
    # Dot products with the heading: in the world frame for the centres, in the LiDAR frame for the points.
    heading = boxes[:, YAW]
    of_centre = (boxes[:, X] - position[0]) * np.cos(heading) + (boxes[:, Y] - position[1]) * np.sin(heading)
    on_object = owner != GROUND
    own, xy = owner[on_object], points[on_object, :2]
    of_point = xy[:, 0] * np.cos(heading[own] - yaw) + xy[:, 1] * np.sin(heading[own] - yaw)
    forward = np.zeros(len(points))
    forward[on_object] = ((of_point - of_centre[own]) / (boxes[own, DX] / 2)).clip(-1, 1)
    return forward
