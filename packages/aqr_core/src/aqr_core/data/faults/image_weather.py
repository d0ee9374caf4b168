"""Fog and snow before the cameras, by MultiCorrupt."""

from __future__ import annotations

import cv2
import numpy as np

from aqr_core.data.faults.blur import smear
from aqr_core.data.faults.fault import ImageFault
from aqr_core.data.faults.plasma import plasma_window
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ImageFog(ImageFault):
    """Fog: clouds over the whole image, and grey that grows with the distance from the road ahead.

    The clouds are a plasma field f, thinned by (1 - 0.8 a) and thickened by (1 + 0.5 b) with two more such fields; the
    image becomes (image + density f) m / (m + density), m its largest value. The grey is mixed in by
    exp(-extinction d), with d = 2 (1 + u / 4) times the distance in pixels from a rectangle at the bottom (rows 65 to
    99 %, columns 10 to 85 %) plus the square root of the larger side, and u uniform for each pixel.

    Source: MultiCorrupt, (density, extinction) (2, 0.0005), (3, 0.001), (4, 0.002) at 1600x900. The fields are windows
    of three that the process keeps, see `plasma_window`. About 40 ms per image of that size.

    Args:
        density: of the clouds, in units of the full scale.
        extinction: per pixel of distance.
        seed: of the draws.
    """

    ROUGHNESS = 1.7
    GREY = 0.5 * 255

    def __init__(self, density: float, extinction: float, seed: int = 0) -> None:
        super().__init__(seed)
        if density < 0 or extinction < 0:
            raise ConfigError(f"ImageFog: density={density}, extinction={extinction}; give numbers from 0 up.")
        self.density = density
        self.extinction = extinction

    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each camera has clouds of its own; colour by colour takes half the time."""
        height, width = image.shape[:2]
        cloud, thin, thick = plasma_window(height, width, 3, self.ROUGHNESS, rng)
        cloud *= (1 - 0.8 * thin) * (1 + 0.5 * thick)
        brightest = image.max() / 255
        gain = brightest / (brightest + self.density) if self.density else 1.0
        cloud *= np.float32(255 * gain * self.density)
        seen = self._transmission(height, width, rng)
        grey = np.float32(self.GREY) * (1 - seen)

        def fog(colour: np.ndarray) -> np.ndarray:
            foggy: np.ndarray = cv2.addWeighted(colour, gain, cloud, 1.0, 0.0, dtype=cv2.CV_32F)
            np.minimum(foggy, 255, out=foggy)
            foggy *= seen
            foggy += grey
            return foggy.astype(np.uint8)

        return cv2.merge([fog(colour) for colour in cv2.split(image)])

    def _transmission(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """(H, W) float32, the share of the image that gets through the grey."""
        down = _outside(np.arange(height), int(0.65 * height), int(0.99 * height))
        across = _outside(np.arange(width), int(0.1 * width), int(0.85 * width))
        distance = 2 * np.sqrt(down[:, None] ** 2 + across[None] ** 2)
        distance *= 1 + rng.random((height, width), np.float32) / 4
        distance += np.float32(np.sqrt(max(height, width)))
        return np.exp(np.float32(-self.extinction) * distance)


def _outside(at: np.ndarray, low: int, high: int) -> np.ndarray:
    """Distance of pixels from an interval, float32."""
    return np.maximum(np.maximum(low - at, at - high), 0).astype(np.float32)


@TRANSFORMS.register_module()
class ImageSnow(ImageFault):
    """Falling snow: a layer of flakes that are smeared downwards, over an image that is paler and a tenth darker.

    The layer is normal noise of a mean and a deviation of 0.3, enlarged by `flake_px`, zero below `threshold`, smeared
    at an angle from -135 to -45 degrees; it is added as it is and turned by 180 degrees. The image keeps a share of
    itself and takes the rest from the larger of itself and 1.5 its grey + 0.5.

    Source: MultiCorrupt: (mean, flake_px, threshold, smear_px, keep) (0.3, 5, 0.9, 7, 0.9), (0.4, 4, 0.85, 8, 0.85),
    (0.5, 3, 0.8, 10, 0.8) at 1600x900. About 30 ms per image of that size.

    Args:
        mean: of the noise.
        flake_px: size of a flake.
        threshold: of the noise, below which no flake is.
        smear_px: radius and deviation of the smear.
        keep: share of the image.
        seed: of the draws.
    """

    DEVIATION = 0.3
    DIMMED = 0.9

    def __init__(
        self, mean: float, flake_px: float, threshold: float, smear_px: int, keep: float, seed: int = 0
    ) -> None:
        super().__init__(seed)
        if not (flake_px >= 1 and smear_px >= 1 and 0 <= keep <= 1):
            raise ConfigError(
                f"ImageSnow: flake_px={flake_px}, smear_px={smear_px}, keep={keep}; give sizes from 1 px up "
                "and a share from 0 to 1."
            )
        self.mean = mean
        self.flake_px = flake_px
        self.threshold = threshold
        self.smear_px = smear_px
        self.keep = keep

    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each camera has flakes of its own."""
        flakes = self._flakes(image.shape[0], image.shape[1], rng)
        flakes += flakes[::-1, ::-1].copy()
        pale = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) * np.float32(1.5) + np.float32(127.5)
        kept, taken = self.DIMMED * self.keep, self.DIMMED * (1 - self.keep)

        def snow(colour: np.ndarray) -> np.ndarray:
            snowy: np.ndarray = cv2.addWeighted(np.maximum(colour, pale), taken, colour, kept, 0.0, dtype=cv2.CV_32F)
            snowy += flakes
            return np.minimum(snowy, 255, out=snowy).astype(np.uint8)

        return cv2.merge([snow(colour) for colour in cv2.split(image)])

    def _flakes(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """(H, W) float32 in [0, 255]."""
        shape = int(np.ceil(height / self.flake_px)), int(np.ceil(width / self.flake_px))
        noise = np.float32(self.mean) + np.float32(self.DEVIATION) * rng.standard_normal(shape, np.float32)
        flakes = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
        flakes[flakes < self.threshold] = 0
        np.clip(flakes, 0, 1, out=flakes)
        return 255 * smear(flakes, self.smear_px, self.smear_px, rng.uniform(-135, -45))
