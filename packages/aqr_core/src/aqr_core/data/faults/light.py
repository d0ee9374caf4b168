"""Too much light, and too little, by MultiCorrupt."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from scipy.special import ndtr, pdtr

from aqr_core.data.faults.fault import ImageFault
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS

_DRAWS = 4096  # entries of a table of random outcomes; probabilities are resolved to this fraction


@TRANSFORMS.register_module()
class Brightness(ImageFault):
    """Adds to the value of every pixel in HSV and keeps hue and saturation.

    The colours scale with the value, which is their largest, and black becomes grey. Source: MultiCorrupt, 0.1, 0.3,
    0.5.

    Args:
        gain: what is added to the value, of a range from 0 to 1.
        seed: not used; every image is struck.
    """

    def __init__(self, gain: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not 0 <= gain <= 1:
            raise ConfigError(f"Brightness: gain is {gain}; give what to add to the value, from 0 to 1.")
        self.gain = gain

    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Nothing is drawn."""
        colours = cv2.split(image)  # colour by colour takes an eighth of the time
        value = cv2.max(cv2.max(colours[0], colours[1]), colours[2])
        level = np.arange(256, dtype=np.float32)
        target = np.minimum(level + 255 * self.gain, 255)
        scale = cv2.LUT(value, (target / np.maximum(level, 1)).astype(np.float32))
        bright = cv2.merge([_cut(cv2.multiply(colour, scale, dtype=cv2.CV_32F)) for colour in colours])
        bright[value == 0] = int(target[0])
        return bright


@TRANSFORMS.register_module()
class Darkness(ImageFault):
    """Low light: a dark image, with the noise of few photons and of the sensor.

    The image is stretched to [0, 1], squared and scaled to `brightest`; then come Poisson noise of `photons` at full
    scale and Gaussian noise. Source: MultiCorrupt: (0.6, 250, 0.008), (0.4, 120, 0.018), (0.3, 50, 0.026).

    Both noises of a grey level are one distribution over 256 levels; each pixel draws from a table of it with 4096
    equally likely outcomes, which takes a tenth of the time that Poisson numbers take: about 30 ms per image of
    1600x900.

    Args:
        brightest: of the range from 0 to 1, what white becomes.
        photons: at full scale.
        noise: deviation of the Gaussian noise, of the range from 0 to 1.
        seed: of the draws.
    """

    def __init__(self, brightest: float, photons: float, noise: float, seed: int = 0) -> None:
        super().__init__(seed)
        if not (0 <= brightest <= 1 and 0 < photons <= 1000 and noise > 0):
            raise ConfigError(
                f"Darkness: brightest={brightest}, photons={photons}, noise={noise}; give a share from 0 to 1, "
                "photons up to 1000 and a positive noise."
            )
        self.brightest = float(brightest)
        self.photons = float(photons)
        self.noise = float(noise)

    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each pixel and colour for itself."""
        low, high = (float(limit) for limit in cv2.minMaxLoc(image.reshape(len(image), -1))[:2])
        table = _noise_table(low, high, self.brightest, self.photons, self.noise)
        at = rng.integers(0, _DRAWS, image.shape, np.uint16).astype(np.int32)
        at += image.astype(np.int32) * _DRAWS
        return table.take(at)


def _cut(level: np.ndarray) -> np.ndarray:
    """Cut down to whole levels; a product may fall a little short of one."""
    level += np.float32(1e-3)
    return np.minimum(level, 255, out=level).astype(np.uint8)


@lru_cache(maxsize=64)
def _noise_table(low: float, high: float, brightest: float, photons: float, noise: float) -> np.ndarray:
    """(256 * _DRAWS,) uint8: equally likely outcomes of each level of an image whose levels span [low, high]."""
    stretched = np.clip((np.arange(256) - low) / max(high - low, 1), 0, 1)
    light = stretched**2 * brightest
    count = np.arange(int(photons) + 1)
    # Poisson numbers above full scale are cut to it, so the last count takes all that is beyond.
    below = pdtr(count[None, :-1], light[:, None] * photons)
    counted = np.diff(below, axis=1, prepend=0, append=1)  # (256, counts)
    step = np.arange(1, 256) / 255  # an outcome is cut down to a whole level: at most k where the sum is below k + 1
    cumulated = counted @ ndtr((step[None] - count[:, None] / photons) / noise)  # (256, 255)
    quantile = (np.arange(_DRAWS) + 0.5) / _DRAWS
    return np.concatenate([np.searchsorted(row, quantile, "right") for row in cumulated]).astype(np.uint8)
