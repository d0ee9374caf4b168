"""A sensor that fails: images or points without content."""

from __future__ import annotations

import numpy as np

from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS

_MODALITIES = ("image", "points")


@TRANSFORMS.register_module()
class ModalMask3D:
    """Blanks all images or all points, as CMT trains and tests without a sensor.

    Blank images are black before `NormalizeMultiviewImage`, so that the network sees -mean / std. Blank points lie at
    the origin, intensity and age 0; the augmentation of the scene moves them to its translation offset, so that a scene
    without LiDAR is one occupied voxel, not an empty grid.

    Anywhere before the augmentation it gives the network the same input. Put first, it also saves the time: the frame
    says what is blank, and so no sweep is read, no image decoded and nothing pasted that would not be seen. (Upstream
    blanks behind the loading and pasting.)

    Args:
        mode: 'train' blanks the images of a quarter of all samples and the points of another quarter; 'test' blanks
            `mask_modal` always.
        mask_modal: 'image' or 'points', for 'test' alone.
    """

    def __init__(self, mode: str = "test", mask_modal: str | None = None) -> None:
        if mode not in ("train", "test"):
            raise ConfigError(f"ModalMask3D: mode is '{mode}'; give 'train' or 'test'.")
        if mode == "test" and mask_modal not in _MODALITIES:
            raise ConfigError(f"ModalMask3D: mask_modal is {mask_modal!r}; mode 'test' needs 'image' or 'points'.")
        if mode == "train" and mask_modal is not None:
            raise ConfigError(f"ModalMask3D: mode 'train' draws what to blank; leave out mask_modal={mask_modal!r}.")
        self.mask_modal = mask_modal

    def __call__(self, frame: Frame) -> None:
        """Draws from the frame's generator in training."""
        blank = self._draw(frame.rng) if self.mask_modal is None else self.mask_modal
        if blank is None:
            return
        frame.blank |= {blank}
        if blank == "image":
            frame.images = [np.zeros_like(image) for image in frame.images]
        else:
            frame.points = np.zeros_like(frame.points)

    def _draw(self, rng: np.random.Generator) -> str | None:
        draw = rng.uniform()
        if draw > 0.75:
            return "image"
        return "points" if draw > 0.5 else None
