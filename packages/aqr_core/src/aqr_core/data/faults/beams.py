"""A LiDAR that delivers fewer points: some of its beams, or a random share of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aqr_core.data.faults.fault import RawPointFault
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.point_rows import pick_points
from aqr_core.errors import ConfigError, DataError
from aqr_core.registry import TRANSFORMS

RINGS = 32  # of the LiDAR of nuScenes
_RING = 4


@TRANSFORMS.register_module()
class BeamReduction(RawPointFault):
    """Only some of the 32 beams deliver points, in the keyframe's sweep and in all others.

    Source: MultiCorrupt keeps the rings 1, 3, .., 31, then 1, 5, .., 29, then 1, 9, 17, 25, by the ring column of the
    files. MoME keeps four rings "uniformly sampled" without saying which.

    Args:
        rings: those that are kept.
        count: instead of `rings`, how many are kept, drawn anew in each keyframe and the same in all its sweeps; a
            smaller count keeps some of the rings of a larger one.
        seed: of the draws.

    Raises:
        ConfigError: neither or both of `rings` and `count`, or one out of range.
    """

    def __init__(self, rings: Sequence[int] | None = None, count: int | None = None, seed: int = 0) -> None:
        super().__init__(seed)
        if (rings is None) == (count is None):
            raise ConfigError(f"BeamReduction got rings={rings} and count={count}; give exactly one of them.")
        if rings is not None and (not len(rings) or not set(rings) <= set(range(RINGS))):
            raise ConfigError(f"BeamReduction: rings is {rings}; give one or more from 0 to {RINGS - 1}.")
        if count is not None and not 0 < count <= RINGS:
            raise ConfigError(f"BeamReduction: count is {count}; keep 1 to {RINGS} rings.")
        self.rings = None if rings is None else tuple(rings)
        self.count = count

    def strike(self, frame: Frame, seed: int) -> None:
        """Draws the rings once for all files of the keyframe."""
        if self.rings is not None:
            super().strike(frame, seed)
        else:
            drawn = self.draws(seed, frame.info.token).permutation(RINGS)[: self.count]
            BeamReduction(rings=drawn.tolist()).strike(frame, seed)

    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Raises `DataError` where the file has no rings."""
        assert self.rings is not None
        ring = points[:, _RING]
        if len(points) and not ring.any():
            raise DataError(
                "BeamReduction finds ring 0 alone in a LiDAR file, as if it had no rings; use files with the ring as "
                "their fifth column, as nuScenes has them."
            )
        return pick_points(points, np.isin(ring, self.rings))


@TRANSFORMS.register_module()
class PointsReduction(RawPointFault):
    """A random share of the points of every LiDAR file is lost; a larger share loses the same ones and more.

    Source: MultiCorrupt, 70, 80 and 90 %. (It leaves what it keeps in random order; here the order stays.)

    Args:
        share: in [0, 1], of the points that are lost.
        seed: of the draws.
    """

    def __init__(self, share: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not 0 <= share <= 1:
            raise ConfigError(f"PointsReduction: share is {share}; give the share that is lost, from 0 to 1.")
        self.share = share

    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Keeps round(P (1 - share)) points."""
        kept = np.zeros(len(points), bool)
        kept[rng.permutation(len(points))[: round(len(points) * (1 - self.share))]] = True
        return pick_points(points, kept)
