"""Smooth random fields with detail at every scale, as fog and clouds have it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def plasma_window(height: int, width: int, fields: int, decay: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Independent (height, width) float32 fields in [0, 1].

    Each is a random window of one of a few periodic fields that the process keeps, mirrored or not, instead of a field
    made for the occasion: making one of 2048x2048 takes longer than loading the image.
    """
    size = 1 << (max(height, width) - 1).bit_length()
    windows = []
    for index in range(fields):
        field = _kept_field(size, decay, index)
        rows, columns = (np.arange(side) + rng.integers(size) for side in (height, width))
        if rng.uniform() < 0.5:
            columns = columns[::-1]
        window = field[np.ix_(rows % size, columns % size)]
        windows.append(window.astype(np.float32) / 255)
    return windows


@lru_cache(maxsize=8)
def _kept_field(size: int, decay: float, index: int) -> np.ndarray:
    field = plasma(size, decay, np.random.default_rng((size, index)))
    return np.rint(255 * field).astype(np.uint8)  # a quarter of the memory; the images have no more levels


def plasma(size: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """(size, size) float32 in [0, 1], periodic, by the diamond-square algorithm.

    Points half way between known ones become their mean plus uniform noise, whose amplitude falls by `decay` squared
    with each halving of the distance: the fog of imagecorruptions multiplies its noise by its amplitude, so that it
    counts twice.

    Args:
        size: a power of two.
        decay: above 1; smaller is rougher.
        rng: of the noise.
    """
    field = np.zeros((size, size), np.float32)
    amplitude, step = 1.0, size

    def between(total: np.ndarray) -> np.ndarray:
        return total / 4 + amplitude * rng.uniform(-1, 1, total.shape)

    while step >= 2:
        half = step // 2
        corner = field[::step, ::step]
        beside = corner + np.roll(corner, -1, axis=1)
        below = corner + np.roll(corner, -1, axis=0)
        centre = between(below + np.roll(below, -1, axis=1))
        field[half::step, half::step] = centre
        field[::step, half::step] = between(beside + centre + np.roll(centre, 1, axis=0))
        field[half::step, ::step] = between(below + centre + np.roll(centre, 1, axis=1))
        amplitude /= decay**2
        step = half
    field -= field.min()
    return field / field.max()
