"""Where objects may go: nothing collides, nothing crowds the vehicle, and little hides behind something else.

All tests look at one scene at a few instants, `times`, that lie close enough together for the speeds at hand.
"""

from __future__ import annotations

import numpy as np

from aqr_core.synth.rig import LIDAR_MOUNT
from aqr_core.synth.world import EgoMotion, Thing

CLEARANCE_M = 4.0  # from the LiDAR to the nearest point of any box
GAP_M = 0.6  # between boxes
_BINS = 360


class Placement:
    """The objects placed so far, and whether one more fits.

    Args:
        ego: the vehicle's path.
        times: (T,) instants, seconds.
        radius_m: bound on the distance to the LiDAR, with `contained`.
        contained: whether objects must stay within the bound at all times.
        max_hidden: fraction of an object's width that nearer objects may hide; 1 allows everything.
    """

    def __init__(
        self, ego: EgoMotion, times: np.ndarray, *, radius_m: float, contained: bool, max_hidden: float
    ) -> None:
        self.things: list[Thing] = []
        self._lidar = ego.mounted(LIDAR_MOUNT.position_m, times)  # (T, 3)
        self._times = times
        self._reach_m = radius_m if contained else np.inf
        self._max_hidden = max_hidden

    def add(self, thing: Thing) -> bool:
        """Place the object if it fits; whether it did."""
        fits = self._clear_of_vehicle(thing) and not any(self._collide(thing, other) for other in self.things)
        if fits and self._max_hidden < 1:
            fits = bool(hidden_fraction([*self.things, thing], self._lidar, self._times).max() <= self._max_hidden)
        if fits:
            self.things.append(thing)
        return fits

    def _clear_of_vehicle(self, thing: Thing) -> bool:
        delta = self._lidar[:, :2] - thing.xy(self._times)  # (T, 2)
        outside = np.maximum(np.abs(_rotate(delta, -thing.yaw)) - thing.size[:2] / 2, 0)
        near, far = np.hypot(*outside.T).min(), np.hypot(*delta.T).max()
        return bool(near >= CLEARANCE_M and far <= self._reach_m)

    def _collide(self, a: Thing, b: Thing) -> bool:
        """Whether the footprints come closer than GAP_M along all four separating axes at any instant."""
        delta = b.xy(self._times) - a.xy(self._times)  # (T, 2)
        apart = np.zeros(len(delta), dtype=bool)
        for axis_yaw in (a.yaw, a.yaw + np.pi / 2, b.yaw, b.yaw + np.pi / 2):
            axis = np.array([np.cos(axis_yaw), np.sin(axis_yaw)])
            reach = sum(
                thing.size[0] / 2 * abs(np.cos(axis_yaw - thing.yaw))
                + thing.size[1] / 2 * abs(np.sin(axis_yaw - thing.yaw))
                for thing in (a, b)
            )
            apart |= np.abs(delta @ axis) > reach + GAP_M
        return not apart.all()


def hidden_fraction(things: list[Thing], lidar: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,) largest fraction over first, middle and last instant of each object's width that nearer objects hide.

    A nearer object hides what the ray from the LiDAR to half the object's height cannot reach.
    """
    height = np.array([thing.size[2] for thing in things])
    worst = np.zeros(len(things))
    for k in (0, len(times) // 2, len(times) - 1):
        delta = np.stack([_corners(thing, times[k]) - lidar[k, :2] for thing in things])  # (n, 4, 2)
        distance = np.linalg.norm(delta.mean(axis=1), axis=-1)
        covered = np.stack([_azimuth_bins(corners) for corners in delta])  # (n, _BINS)
        ratio = distance[None, :] / distance[:, None]  # [i, j]: of the way to i, how far away j is
        sight = lidar[k, 2] + (height[:, None] / 2 - lidar[k, 2]) * ratio  # height of that ray above j
        blocks = (ratio < 1) & (sight < height[None, :])
        hidden = covered & (blocks.astype(np.float32) @ covered.astype(np.float32) > 0)
        worst = np.maximum(worst, hidden.sum(axis=1) / covered.sum(axis=1))
    return worst


def _corners(thing: Thing, t: float) -> np.ndarray:
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return thing.xy(t) + _rotate(signs * thing.size[:2] / 2, thing.yaw)


def _azimuth_bins(corners: np.ndarray) -> np.ndarray:
    """(4, 2) corners seen from the origin -> (_BINS,) directions that the footprint covers."""
    centre = np.arctan2(*corners.mean(axis=0)[::-1])
    offset = (np.arctan2(corners[:, 1], corners[:, 0]) - centre + np.pi) % (2 * np.pi) - np.pi
    first, last = np.floor((centre + np.array([offset.min(), offset.max()])) * _BINS / (2 * np.pi)).astype(int)
    bins = np.zeros(_BINS, dtype=bool)
    bins[np.arange(first, last + 1) % _BINS] = True
    return bins


def _rotate(vectors: np.ndarray, yaw: float) -> np.ndarray:
    """(..., 2) vectors turned counter-clockwise."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack(
        [cos * vectors[..., 0] - sin * vectors[..., 1], sin * vectors[..., 0] + cos * vectors[..., 1]], axis=-1
    )
