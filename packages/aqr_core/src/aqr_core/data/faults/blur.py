"""What is smeared by motion: LiDAR turns by MultiCorrupt, images too."""

from __future__ import annotations

import cv2
import numpy as np

from aqr_core.data.faults.fault import ImageFault, RawPointFault
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS

_ROUNDING = 1e-3  # the weights of an even image may add up to a little less than 1


@TRANSFORMS.register_module()
class LidarMotionBlur(RawPointFault):
    """Every LiDAR turn is shifted as a whole, and each of its points trembles.

    Source: MultiCorrupt, 0.06, 0.10, 0.13 m: the shift is normal along each axis with that deviation, the trembling
    normal with 0.15, 0.2 and 0.12 of it along x, y and z, cut at three times the deviation of the shift. A larger
    deviation scales the same draws.

    Args:
        std_m: deviation of the shift.
        seed: of the draws.
    """

    TREMBLE = (0.15, 0.2, 0.12)  # x, y, z

    def __init__(self, std_m: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not std_m >= 0:
            raise ConfigError(f"LidarMotionBlur: std_m is {std_m}; give a deviation in metres from 0 up.")
        self.std_m = std_m

    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves every point."""
        shift = rng.normal(size=3)
        moved = points.copy()
        for axis, share in enumerate(self.TREMBLE):
            tremble = rng.standard_normal(len(points), np.float32) * np.float32(share)
            moved[:, axis] += np.float32(self.std_m) * (np.float32(shift[axis]) + np.clip(tremble, -3, 3))
        return moved


@TRANSFORMS.register_module()
class ImageMotionBlur(ImageFault):
    """Every image is smeared along a line: a half Gaussian over 31 px at an angle from -45 to 45 degrees.

    Source: MultiCorrupt, deviations of 6, 10 and 13 px on images of 1600x900; the pixels stay the same on smaller ones.
    About 50 ms per image of 1600x900.

    Args:
        std_px: deviation of the half Gaussian.
        seed: of the draws.
    """

    RADIUS_PX = 15

    def __init__(self, std_px: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not std_px > 0:
            raise ConfigError(f"ImageMotionBlur: std_px is {std_px}; give a deviation in pixels above 0.")
        self.std_px = std_px

    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The border repeats its last pixel."""
        return smear(image, self.RADIUS_PX, self.std_px, rng.uniform(-45, 45))


def smear(image: np.ndarray, radius_px: int, std_px: float, angle_deg: float) -> np.ndarray:
    """An image of any type with each pixel a mean of itself and those behind it along a line.

    The line has 2 radius + 1 pixels; the weights fall as a half Gaussian. Whole levels are cut down. It adds up shifted
    images: a filter with such a line in it takes twice as long. Source: the motion blur of imagecorruptions.
    """
    steps = np.arange(2 * radius_px + 1)
    weights = np.exp(-(steps**2) / (2 * std_px**2))
    angle = np.radians(angle_deg)
    right, down = (np.round(steps * part).astype(int) for part in (np.cos(angle), np.sin(angle)))
    height, width = image.shape[:2]
    border = len(steps)
    wide = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
    total: np.ndarray = np.zeros(image.shape, np.float32)
    for weight, x, y in zip(weights / weights.sum(), border + right, border + down, strict=True):
        total = cv2.addWeighted(wide[y : y + height, x : x + width], weight, total, 1.0, 0.0, dtype=cv2.CV_32F)
    return (total + _ROUNDING if image.dtype == np.uint8 else total).astype(image.dtype)
