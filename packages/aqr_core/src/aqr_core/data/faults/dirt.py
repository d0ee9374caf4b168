"""Dirt on the lenses: sixteen masks of our own, mixed in as nuScenes-R mixes in its photographs of dirt."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from aqr_core.data.faults.fault import ImageFault
from aqr_core.registry import TRANSFORMS

MASKS = 16
_HEIGHT, _WIDTH = 450, 800  # of the masks as they are made
_MUD_BGR = np.array([[38, 48, 58], [52, 70, 88], [70, 74, 78], [30, 34, 40]], np.float32)


@TRANSFORMS.register_module()
class Dirt(ImageFault):
    """Every image is seen through one of sixteen dirty lenses.

    With alpha = (mask / 255)^3 per colour, the image becomes alpha image + (1 - alpha) mask.

    Source: nuScenes-R, which draws one of 16 masks for each image. Its masks are photographs that are not ours to ship,
    so these are made by `dirt_mask`: the mixing is the published one, the dirt is not, and numbers of both do not
    compare.

    Args:
        seed: of the draws.
    """

    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws the mask; rounding to levels twice may leave it one level off."""
        clear, dirt = (
            cv2.resize(layer, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            for layer in _layers(int(rng.integers(MASKS)))
        )
        return cv2.add(cv2.multiply(image, clear, scale=1 / 255), dirt)


@lru_cache(maxsize=MASKS)
def _layers(index: int) -> tuple[np.ndarray, np.ndarray]:
    """255 alpha, and (1 - alpha) mask, both uint8 of the mask's size."""
    mask = dirt_mask(index).astype(np.float32)
    alpha = (mask / 255) ** 3
    return np.rint(255 * alpha).astype(np.uint8), np.rint((1 - alpha) * mask).astype(np.uint8)


def dirt_mask(index: int) -> np.ndarray:
    """(450, 800, 3) uint8 BGR, white where the lens is clean; the same in every process.

    Smears where a cloud of smooth noise is thick, from a tenth of the lens in the first mask to half of it in the last,
    and splashes: round spots of all sizes, most of them small.
    """
    rng = np.random.default_rng((MASKS, index))
    cloud = np.zeros((_HEIGHT, _WIDTH), np.float32)
    for weight, grain_px in ((1.0, 100), (0.5, 40), (0.25, 15)):
        coarse = rng.standard_normal((_HEIGHT // grain_px + 3, _WIDTH // grain_px + 3), np.float32)
        cloud += weight * cv2.resize(coarse, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    edge = np.quantile(cloud, 1 - np.interp(index, (0, MASKS - 1), (0.1, 0.5)))
    thickness = np.clip((cloud - edge) / (0.5 * cloud.std()) + 0.3, 0, 1)
    for _ in range(int(rng.integers(40, 160))):
        _splash(thickness, rng)
    mud = _MUD_BGR[rng.integers(len(_MUD_BGR))]
    grain = 1 + 0.15 * rng.standard_normal((_HEIGHT, _WIDTH), np.float32)
    return np.clip(255 - thickness[..., None] * (255 - mud * grain[..., None]), 0, 255).astype(np.uint8)


def _splash(thickness: np.ndarray, rng: np.random.Generator) -> None:
    """Add a round spot with a soft edge, in place; half of all spots are smaller than 6 px in radius."""
    x, y = rng.uniform((0, 0), (_WIDTH, _HEIGHT))
    radius = min(3 / rng.uniform(0.03, 1), 45)
    soft = 1 + radius / 3
    rows, columns = (slice(max(int(centre - radius - soft), 0), int(centre + radius + soft) + 2) for centre in (y, x))
    part = thickness[rows, columns]
    down, across = np.ogrid[rows, columns]  # type: ignore[misc]
    distance = np.hypot(down[: part.shape[0]] - y, across[:, : part.shape[1]] - x)
    np.maximum(part, rng.uniform(0.4, 1) * np.clip((radius - distance) / soft + 0.5, 0, 1), out=part)
