"""Snow before the LiDAR: that of MultiCorrupt, as far as it is public."""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc

from aqr_core.data.faults.fault import RawPointFault
from aqr_core.data.faults.lidar_fog import INTENSITY, OVERLAP_M
from aqr_core.data.transforms.point_rows import pick_points
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS

_GROUND_M, _GROUND_MARGIN_M = -1.85, 0.5  # height of flat ground below the LiDAR of nuScenes
_MIN_GROUND_POINTS = 25


@TRANSFORMS.register_module()
class LidarSnow(RawPointFault):
    """Snowflakes hide what is behind them and echo themselves; weak echoes far away are lost.

    The flakes have diameters by Gunn and Marshall up to 20 mm and fill a share of a plane. A beam is 3 mrad wide. A
    flake echoes 0.9 of full scale times the share of the beam that it fills, over its squared distance; a target keeps
    the share of its intensity that no flake hides. The strongest echo is what the LiDAR reports, if it is a flake's
    or above `noise_floor`. All echoes below are lost, snow or no snow; that is most of what the severities share.

    Source: MultiCorrupt, after Hahner et al. (CVPR 2022, "LiDAR snowfall simulation for robust 3D object detection").
    It is our own definition all the same: each beam draws its flakes, where the original has shared worlds of flakes
    that are not ours to ship; nothing is corrected by the calibration of a 64-beam sensor; the ground is flat, where
    the original reads lidarseg labels and fits planes. So numbers do not compare. About 10 ms per file.

    Args:
        snowfall: mm of water per hour; MultiCorrupt has 0.5, 2.5 and 1.5.
        velocity: at which the flakes fall, m/s; MultiCorrupt has 1.2, 1.6 and 0.4.
        seed: of the draws.
    """

    BEAM_RAD = 3e-3
    MAX_DIAMETER_M = 0.02
    FLAKE_ECHO = 0.9 * 255

    def __init__(self, snowfall: float, velocity: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not (snowfall > 0 and velocity > 0):
            raise ConfigError(f"LidarSnow: snowfall={snowfall} mm/h, velocity={velocity} m/s; give positive numbers.")
        occupied = snowfall / (3.6e6 * 0.1 * velocity)  # share of the volume; 0.1 g/cm^3
        rainfall = (snowfall / (487 * 0.1 * 0.003 * velocity)) ** 1.5  # mm/h
        self.per_m = 2550 * rainfall**-0.48  # diameters are exponential
        cut = self.per_m * self.MAX_DIAMETER_M
        share = 1 - np.exp(-cut)
        mean_square = 2 / self.per_m**2 * gammainc(3, cut) / share
        self.mean_diameter_m = gammainc(2, cut) / (self.per_m * share)
        # A ball of diameter D that is cut at a random height leaves a disk of pi D^2 / 6 on average.
        self.per_m2 = occupied / (np.pi * mean_square / 6)

    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves points, changes intensities and loses points."""
        distance = np.linalg.norm(points[:, :3].astype(np.float64), axis=1)
        beam, flake_m, filled = self._flakes(distance, rng)
        hidden = np.bincount(beam, filled, len(points))
        left = points[:, INTENSITY] * np.maximum(1 - hidden, 0)
        echo = self.FLAKE_ECHO * filled * np.interp(flake_m, OVERLAP_M, (0.0, 1.0)) / np.maximum(flake_m, 0.1) ** 2
        strongest = np.zeros(len(points))
        np.maximum.at(strongest, beam, echo)
        snowy = points.copy()
        struck = hidden > 0
        snowy[struck, INTENSITY] = np.floor(np.minimum(np.maximum(left, strongest), 255)[struck])
        moves = (echo == strongest[beam]) & (echo > left[beam])
        snowy[beam[moves], :3] *= (flake_m[moves] / distance[beam[moves]])[:, None].astype(np.float32)
        seen = snowy[:, INTENSITY] > noise_floor(points, distance)
        seen[beam[moves]] = True
        return pick_points(snowy, seen)

    def _flakes(self, distance: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(F,) beam, distance in metres and filled share of the beam, of every flake in the way of (P,) echoes."""
        disk_m = self.mean_diameter_m * np.pi / 4  # mean diameter of a disk
        area = self.BEAM_RAD * distance**2 / 2 + disk_m * distance  # where the centre of a flake is in the way
        beam = np.repeat(np.arange(len(distance)), rng.poisson(self.per_m2 * area))
        # Of this area a random share is nearer than the flake: a quadratic equation for its distance.
        share = rng.uniform(size=len(beam)) * area[beam]
        flake_m = (np.sqrt(disk_m**2 + 2 * self.BEAM_RAD * share) - disk_m) / self.BEAM_RAD
        cut = np.exp(-self.per_m * self.MAX_DIAMETER_M)
        diameter = -np.log(1 - rng.uniform(size=len(beam)) * (1 - cut)) / self.per_m
        half = diameter / 2 * np.sqrt(1 - rng.uniform(size=len(beam)) ** 2) / np.maximum(flake_m, 0.01)  # rad
        offset = rng.uniform(-1, 1, len(beam)) * (self.BEAM_RAD / 2 + half)
        edge = self.BEAM_RAD / 2
        filled = np.minimum(offset + half, edge) - np.maximum(offset - half, -edge)
        return beam, flake_m, np.clip(filled / self.BEAM_RAD, 0, 1)


def noise_floor(points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(P,) intensity that an echo of (P, >=4) points at (P,) metres must exceed to be reported; -inf without ground.

    As MultiCorrupt has it: intensities of the ground are divided by the cosine of incidence; in each of 50 bins of
    distance from 10 to 70 m, of 2555 bins of these intensities above 5 the rarest that is not empty is taken for the
    weakest echo; 0.7 of a line through those, times the cosine, is the floor at each ground point, and a parabola
    through it the floor everywhere. On real frames it is negative below some 17 m, and beyond it takes a tenth of all
    points.
    """
    on_ground = np.abs(points[:, 2] - _GROUND_M) < _GROUND_MARGIN_M
    ground_m = distance[on_ground]
    cosine = -points[on_ground, 2] / ground_m
    intensity = points[on_ground, INTENSITY] / cosine
    if len(ground_m) < _MIN_GROUND_POINTS or intensity.max() <= 5:
        return np.full(len(points), -np.inf)
    count, bins_m, bins = np.histogram2d(
        ground_m, intensity, bins=(50, 2555), range=((10, 70), (5, float(intensity.max())))
    )
    count[count == 0] = len(ground_m)
    weakest = bins[np.argpartition(count, 2, axis=1)[:, 0]]
    known = weakest > 5
    at_m = ((bins_m[:-1] + bins_m[1:]) / 2)[known]
    enough = len(at_m) > 3
    line = np.polyfit(at_m, weakest[known], 1) if enough else np.polyfit(ground_m, intensity, 1)
    floor = 0.7 * np.polyval(line, ground_m) * cosine
    return np.polyval(np.polyfit(ground_m, floor, 2), distance)
