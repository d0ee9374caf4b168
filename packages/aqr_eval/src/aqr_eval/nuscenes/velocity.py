"""Velocity of an annotation from its neighbours on the track; the dataset does not store it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_GAP_S = 1.5  # twice that when both neighbours exist


def track_velocities(
    translation: NDArray[np.float64],
    timestamp_us: NDArray[np.int64],
    previous: NDArray[np.int64],
    following: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Central difference inside a track, one-sided at its ends, as `NuScenes.box_velocity` of the devkit.

    Args:
        translation: (n, 3) global centres, metres.
        timestamp_us: (n,) time of each annotation's sample.
        previous: (n,) row of the same object in the sample before, -1 where there is none.
        following: (n,) row of the same object in the sample after, -1 where there is none.

    Returns:
        (n, 2) global velocity, m/s; NaN for an object seen once and where the gap exceeds 1.5 s
        (3 s between two neighbours).
    """
    row = np.arange(len(translation))
    has_previous, has_following = previous >= 0, following >= 0
    first = np.where(has_previous, previous, row)
    last = np.where(has_following, following, row)
    seconds = 1e-6 * timestamp_us[last] - 1e-6 * timestamp_us[first]  # the devkit's rounding, it decides at the limit
    limit = np.where(has_previous & has_following, 2 * _MAX_GAP_S, _MAX_GAP_S)
    known = (has_previous | has_following) & (seconds <= limit) & (seconds != 0)
    moved = translation[last, :2] - translation[first, :2]
    velocity = np.full((len(translation), 2), np.nan)
    velocity[known] = moved[known] / seconds[known, None]
    return velocity
