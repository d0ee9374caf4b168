"""Fog before the LiDAR, by MultiCorrupt."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.constants import speed_of_light
from scipy.integrate import simpson

from aqr_core.data.faults.fault import RawPointFault
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS

INTENSITY = 3
_PULSE_S = 2e-8  # half-power width
OVERLAP_M = (0.9, 1.0)  # where the receiver begins to see the beam, and where it sees all of it
_REFLECTIVITY = 1e-6 / np.pi  # of a hard target, differential
_STEP_M, _MAX_RANGE_M = 0.1, 200.0


@TRANSFORMS.register_module()
class LidarFog(RawPointFault):
    """Fog swallows far returns and throws back returns of its own.

    An echo at range r keeps exp(-2 attenuation r) of its intensity, rounded. Where the fog's echo is stronger, the
    point moves to it: backscatter / reflectivity times r^2 times the unfogged intensity times the largest integral of
    pulse, attenuation and 1 / distance^2 before r. Its range is then multiplied by r / (r +- 10 m), uniformly;
    nearer than 10 m, where only the weakest echoes move, that may throw them anywhere on their line.

    Source: MultiCorrupt: (attenuation, backscatter) (0.02, 0.008), (0.03, 0.008), (0.06, 0.05), which is the simulation
    of Hahner et al. (ICCV 2021, "Fog simulation on real LiDAR point clouds") with a 20 ns pulse. Its lookup tables are
    computed here by the formula of the paper, to a decimetre as there. About 2 ms per file.

    Args:
        attenuation: 1 / m.
        backscatter: 1 / sr.
        seed: of the draws.
    """

    SPREAD_M = 10.0

    def __init__(self, attenuation: float, backscatter: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not (attenuation > 0 and backscatter >= 0):
            raise ConfigError(f"LidarFog: attenuation={attenuation}, backscatter={backscatter}; give positive numbers.")
        self.attenuation = float(attenuation)
        self.backscatter = float(backscatter)

    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves points and changes intensities; none is lost."""
        foggy = points.copy()
        distance = np.linalg.norm(points[:, :3].astype(np.float64), axis=1)
        foggy[:, INTENSITY] = np.round(np.exp(-2 * self.attenuation * distance) * points[:, INTENSITY])
        fog_range, fog_echo = _strongest_fog(self.attenuation)
        at = np.rint(np.minimum(distance, _MAX_RANGE_M) / _STEP_M).astype(int)
        response = fog_echo[at] * points[:, INTENSITY] * distance**2 * (self.backscatter / _REFLECTIVITY)
        spread = rng.uniform(-self.SPREAD_M, self.SPREAD_M, len(points))
        hit = np.flatnonzero(response > foggy[:, INTENSITY])
        factor = fog_range[at[hit]] / (distance[hit] + spread[hit])
        foggy[hit, :3] *= factor[:, None].astype(np.float32)
        foggy[hit, INTENSITY] = response[hit]
        return foggy


@lru_cache(maxsize=8)
def _strongest_fog(attenuation: float) -> tuple[np.ndarray, np.ndarray]:
    """The fog's strongest echo before a target at 0, 0.1, .., 200 m: its (2001,) range in m and integral in s / m^2.

    The echo of range R integrates over the time t since the pulse was sent, in [0, 40 ns]: sin^2 of the pulse, exp(-2
    attenuation rho) and 1 / rho^2 at rho = R - c t / 2, and the overlap of beam and receiver there. The ranges are
    shifted by half a pulse, so that the peak of the pulse counts.
    """
    ranges = np.arange(0, _MAX_RANGE_M + _STEP_M / 2, _STEP_M)
    time = np.linspace(0, 2 * _PULSE_S, 2001)
    rho = ranges[:, None] - speed_of_light * time / 2
    seen = np.interp(rho, OVERLAP_M, (0.0, 1.0))
    rho = np.maximum(rho, OVERLAP_M[0])
    pulse = np.sin(np.pi * time / (2 * _PULSE_S)) ** 2
    echo = simpson(pulse * np.exp(-2 * attenuation * rho) * seen / rho**2, x=time, axis=1)
    best = np.maximum.accumulate(np.where(echo >= np.maximum.accumulate(echo), np.arange(len(echo)), 0))
    return ranges[best] - speed_of_light * _PULSE_S / 2, echo[best]
