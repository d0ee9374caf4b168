"""Parts of the scene that the LiDAR does not see: all but a sector, or the annotated objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aqr_core.data.faults.fault import Fault, Place, checked_probability
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.point_rows import pick_points
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS
from aqr_core.structures.overlap import points_in_any_box


class _PointFilter(Fault):
    """Loses points of the whole cloud, past sweeps included, in the keyframe's LiDAR frame."""

    sensor = "lidar"
    place = Place.BEHIND_POINTS

    def keep(self, frame: Frame, kept: np.ndarray) -> None:
        """Keep the points that the (P,) bool mask names, and report how many."""
        self.report(frame, points=len(kept), points_kept=int(kept.sum()))
        frame.points = pick_points(frame.points, kept)

    def sees(self, frame: Frame) -> bool:
        """Whether there are points to lose; a `ConfigError` where they were to be loaded and are not."""
        if not len(frame.points) and not frame.raw_faults:  # those may have left none
            raise self.misplaced(frame, "no points")
        return "points" not in frame.blank


@TRANSFORMS.register_module()
class LimitedFov(_PointFilter):
    """The LiDAR sees a sector only, limits included, after the sweeps are joined.

    The azimuth is that of nuScenes-R: 0 along +y, ahead of the vehicle, positive towards +x, to the right, in
    (-180, 180].

    Source: nuScenes-R, limits (-60, 60) and (-90, 90).

    Args:
        limits_deg: lowest and highest azimuth, degrees.
        seed: not used; every keyframe is struck.
    """

    def __init__(self, limits_deg: Sequence[float] = (-60.0, 60.0), seed: int = 0) -> None:
        super().__init__(seed)
        if len(limits_deg) != 2 or not -180 <= limits_deg[0] < limits_deg[1] <= 180:
            raise ConfigError(f"LimitedFov: limits_deg is {limits_deg}; give two ascending azimuths in [-180, 180].")
        self.low, self.high = map(float, limits_deg)

    def strike(self, frame: Frame, seed: int) -> None:
        """Filters `points`."""
        if self.sees(frame):
            azimuth = np.degrees(np.arctan2(frame.points[:, 0].astype(np.float64), frame.points[:, 1]))
            self.keep(frame, (azimuth >= self.low) & (azimuth <= self.high))


@TRANSFORMS.register_module()
class ObjectFailure(_PointFilter):
    """In some keyframes the LiDAR sees no object: all points in all annotated boxes are lost.

    Source: nuScenes-R, probability 0.5. It is drawn once per keyframe, not per object. Its boxes are those with a LiDAR
    point inside, of any kind; ours are those of the ten classes.

    Args:
        probability: that a keyframe is struck.
        seed: of the draws.
    """

    def __init__(self, probability: float = 0.5, seed: int = 0) -> None:
        super().__init__(seed)
        self.probability = checked_probability("ObjectFailure", probability)

    def strike(self, frame: Frame, seed: int) -> None:
        """Filters `points`; before any transform that moves the scene, as the boxes are those of the infos."""
        if self.sees(frame) and self.draws(seed, frame.info.token).uniform() < self.probability:
            self.report(frame, frames=1, boxes=len(frame.info.gt))
            self.keep(frame, ~points_in_any_box(frame.points, frame.info.gt.boxes))
