"""A LiDAR scan of the world: 32 rings, all rays of a turn at one instant, with noise on range and intensity."""

from __future__ import annotations

import numpy as np

from aqr_core.synth.raycast import GROUND, NOTHING, RayGrid, cast
from aqr_core.synth.rig import LIDAR_MOUNT, RING_ELEVATIONS_RAD
from aqr_core.synth.world import SKIN_M, World

_RANGE_NOISE_M = 0.01
_GROUND_NOISE_M = 0.01
_GROUND_REFLECTIVITY = 8.0
_INTENSITY_NOISE = 5.0


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
        hits = cast(RayGrid(headings, self._slopes), position, yaw, world.solids(t), len(world.things))

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
        points[:, 3] = self._intensity(world, solid, rng)
        points[:, 4] = ring
        return points

    def _intensity(self, world: World, solid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # The ground is the last entry, where its index -1 finds it.
        reflectivity = np.array([*(thing.reflectivity for thing, _ in world.surfaces), _GROUND_REFLECTIVITY])
        return (reflectivity[solid] + rng.normal(0, _INTENSITY_NOISE, len(solid))).round().clip(0, 255)
