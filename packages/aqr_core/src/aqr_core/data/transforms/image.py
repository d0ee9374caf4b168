"""Transforms of the six images; each keeps `cam2img` in step, so that a point still lands on its pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS, suggest

cv2.setNumThreads(0)  # the DataLoader's workers are the parallelism; OpenCV's own threads would fight them

_AUG_KEYS = ("resize_lim", "final_dim", "rand_flip")


@TRANSFORMS.register_module()
class ResizeCropFlipImage:
    """Resizes, crops at the bottom, and in training scales and flips: CMT's image augmentation.

    All cameras of a sample share the parameters. With s the scale, the resized image has int(s * width) columns
    and int(s * height) rows, of which the last `final_dim` rows and a random (test: the middle) window of columns
    stay; where the resized image is smaller, black pixels fill the top and the right. The intrinsics are scaled by s
    itself, as upstream; the rounding of the size moves no pixel by more than one.

    Args:
        data_aug_conf: `final_dim` (height, width) px, `resize_lim` (low, high) of s in training, `rand_flip`.
        training: random parameters; else s is the smallest scale that covers `final_dim`, unflipped.
    """

    def __init__(self, data_aug_conf: Mapping[str, Any], training: bool = True) -> None:
        for key in data_aug_conf:
            if key not in _AUG_KEYS:
                raise ConfigError(f"ResizeCropFlipImage does not take '{key}'.{suggest(key, list(_AUG_KEYS))}")
        if "final_dim" not in data_aug_conf or (training and "resize_lim" not in data_aug_conf):
            raise ConfigError(
                "ResizeCropFlipImage needs final_dim=(height, width), and resize_lim=(low, high) in training."
            )
        self.height, self.width = map(int, data_aug_conf["final_dim"])
        self.scale_low, self.scale_high = data_aug_conf.get("resize_lim", (1.0, 1.0))
        self.rand_flip = bool(data_aug_conf.get("rand_flip", False))
        self.training = training

    def __call__(self, frame: Frame) -> None:
        """Same parameters for every camera, drawn from the frame's generator."""
        if not len(frame.images):
            return
        scale, at, flip = self._parameters(frame)
        images: list[np.ndarray] = []
        for i, image in enumerate(frame.images):
            rows, columns = image.shape[:2]
            size = int(columns * scale), int(rows * scale)
            # Drawn as fractions, so that cameras of different sizes are treated alike.
            left = int(at * max(0, size[0] - self.width))
            top = size[1] - self.height
            if "image" in frame.blank:
                images.append(np.zeros((self.height, self.width, 3), image.dtype))
            else:
                image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
                image = _window(image, left, top, self.height, self.width)
                images.append(cv2.flip(image, 1) if flip else image)
            frame.cam2img[i] = _pixel_map(scale, left, top, self.width if flip else None) @ frame.cam2img[i]
        frame.images = images

    def _parameters(self, frame: Frame) -> tuple[float, float, bool]:
        """Scale, position of the crop in [0, 1), flip."""
        if not self.training:
            rows, columns = frame.images[0].shape[:2]
            return max(self.height / rows, self.width / columns), 0.5, False
        scale, at = frame.rng.uniform(self.scale_low, self.scale_high), frame.rng.uniform()
        return scale, at, self.rand_flip and frame.rng.uniform() < 0.5


def _window(image: np.ndarray, left: int, top: int, height: int, width: int) -> np.ndarray:
    """The (height, width) window at (left, top), black where it leaves the image; a view where it does not.

    `left` >= 0, `top` may be < 0.
    """
    part = image[max(top, 0) : top + height, left : left + width]
    if part.shape[:2] == (height, width):
        return part
    window = np.zeros((height, width, *image.shape[2:]), image.dtype)
    above = max(-top, 0)
    window[above : above + part.shape[0], : part.shape[1]] = part
    return window


def _pixel_map(scale: float, left: int, top: int, flip_width: int | None) -> np.ndarray:
    """(4, 4) that takes homogeneous source pixels to those of the cropped and perhaps mirrored image."""
    pixel_map = np.eye(4)
    pixel_map[:2, :3] = [[scale, 0, -left], [0, scale, -top]]
    if flip_width is not None:
        pixel_map[0, :3] = [-scale, 0, flip_width + left]
    return pixel_map


@TRANSFORMS.register_module()
class RandomImageGain:
    """Multiplies all uint8 images of a sample by one random gain, and each colour channel by a further one.

    Args:
        brightness: the common gain is drawn from 1 +- this.
        colour: the gain of each channel is drawn from 1 +- this.
    """

    def __init__(self, brightness: float = 0.2, colour: float = 0.05) -> None:
        if not (0 <= brightness < 1 and 0 <= colour < 1):
            raise ConfigError(f"RandomImageGain takes gains in [0, 1), not brightness={brightness}, colour={colour}.")
        self.brightness = brightness
        self.colour = colour

    def __call__(self, frame: Frame) -> None:
        """Before `NormalizeMultiviewImage`."""
        gain = frame.rng.uniform(1 - self.brightness, 1 + self.brightness)
        gains = gain * frame.rng.uniform(1 - self.colour, 1 + self.colour, size=3)
        table = np.clip(np.arange(256)[:, None] * gains + 0.5, 0, 255).astype(np.uint8)  # (256, 3)
        frame.images = [cv2.LUT(image, table[None]) for image in frame.images]


@TRANSFORMS.register_module()
class NormalizeMultiviewImage:
    """(pixel - mean) / std per BGR channel, float32. The defaults are CMT's, for both of its backbones.

    Args:
        mean: BGR, in [0, 255].
        std: BGR.
    """

    def __init__(
        self,
        mean: Sequence[float] = (103.530, 116.280, 123.675),
        std: Sequence[float] = (57.375, 57.120, 58.395),
    ) -> None:
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ConfigError(f"NormalizeMultiviewImage needs three means and three positive stds, not {mean}, {std}.")
        self.mean = np.asarray(mean, np.float32)
        self.std = np.asarray(std, np.float32)

    def __call__(self, frame: Frame) -> None:
        """Images become float32; those of one size share an array, laid out as the sample wants it.

        It goes colour by colour: eight times faster than broadcasting over the last axis.
        """
        sizes = [image.shape[:2] for image in frame.images]
        if len(set(sizes)) == 1:
            planes = np.empty((len(sizes), 3, *sizes[0]), np.float32)
            for image, target in zip(frame.images, planes, strict=True):
                self._normalise(image, target)
            frame.images = planes.transpose(0, 2, 3, 1)
        else:
            frame.images = [
                self._normalise(image, np.empty((3, *image.shape[:2]), np.float32)) for image in frame.images
            ]

    def _normalise(self, image: np.ndarray, planes: np.ndarray) -> np.ndarray:
        """(H, W, 3) image into (3, H, W) planes -> (H, W, 3) view of them."""
        for channel, plane, mean, std in zip(cv2.split(image), planes, self.mean, self.std, strict=True):
            np.subtract(channel, mean, out=plane)
            plane /= std
        return planes.transpose(1, 2, 0)


@TRANSFORMS.register_module()
class PadMultiViewImage:
    """Zeros at the bottom and the right until both sides divide; pixels keep their place.

    Args:
        size_divisor: px.
    """

    def __init__(self, size_divisor: int = 32) -> None:
        if size_divisor < 1:
            raise ConfigError(f"PadMultiViewImage: size_divisor is {size_divisor}; give 1 or more.")
        self.size_divisor = size_divisor

    def __call__(self, frame: Frame) -> None:
        """After normalisation, so that the padding is the mean colour."""
        if any(side % self.size_divisor for image in frame.images for side in image.shape[:2]):
            frame.images = [self._pad(image) for image in frame.images]

    def _pad(self, image: np.ndarray) -> np.ndarray:
        rows, columns = (-size % self.size_divisor for size in image.shape[:2])
        return np.pad(image, ((0, rows), (0, columns), (0, 0)))
