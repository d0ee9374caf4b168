"""Pastes crops of objects into the images, where their boxes project to, far ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from aqr_core.errors import ConfigError
from aqr_core.structures.boxes3d import box_corners

# Upstream cuts the mixture off to uint8 where OpenCV rounds it; this offset makes one of the other, exactly so at
# rates of 1/2 and 1, and to 0.01 of a level elsewhere.
_CUT_OFF = -0.49


def paste_objects(
    images: Iterable[np.ndarray],
    lidar2img: np.ndarray,
    boxes: np.ndarray,
    crop_of: Callable[[int], np.ndarray | None],
    mixup_rate: float,
) -> None:
    """Writes the objects into the images.

    Args:
        images: N arrays (H, W, 3) uint8, BGR; sizes may differ.
        lidar2img: (N, 4, 4).
        boxes: (n, >=7).
        crop_of: the (h, w, 3) uint8 crop of a box, None where there is none; asked for visible boxes only.
        mixup_rate: share of the crop.

    Raises:
        ConfigError: the images are not uint8.
    """
    corners = box_corners(boxes)
    for image, projection in zip(images, lidar2img, strict=True):
        if image.dtype != np.uint8:
            raise ConfigError(
                f"UnifiedObjectSample found images of {image.dtype}; put it before NormalizeMultiviewImage."
            )
        chosen, rectangles = visible_rectangles(corners, projection, image.shape[1], image.shape[0])
        for i, (left, top, right, bottom) in zip(chosen.tolist(), rectangles.tolist(), strict=True):
            crop = crop_of(i)
            if crop is None:
                continue
            window = image[top:bottom, left:right]
            crop = cv2.resize(crop, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
            cv2.addWeighted(window, 1 - mixup_rate, crop, mixup_rate, _CUT_OFF, dst=window)


def visible_rectangles(
    corners: np.ndarray, lidar2img: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the boxes with all corners before the camera appear, from the farthest mean depth to the nearest.

    As upstream: coordinates are cut to whole pixels and clipped to [0, width - 1] and [0, height - 1]; rectangles of
    one pixel or less either way are left out.

    Args:
        corners: (n, 8, 3).
        lidar2img: (4, 4).
        width: of the image, px.
        height: of the image, px.

    Returns:
        chosen: (k,) index of the box.
        rectangles: (k, 4) int left, top, right, bottom, px; the last two are outside.
    """
    projected = corners @ lidar2img[:3, :3].T + lidar2img[:3, 3]
    before = np.flatnonzero((projected[..., 2] > 0).all(axis=1))
    projected = projected[before]
    depth = projected[..., 2].mean(axis=1)
    pixels = np.clip(projected[..., :2] / projected[..., 2:], 0, (width - 1, height - 1)).astype(int)
    rectangles = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
    large = ((rectangles[:, 2:] - rectangles[:, :2]) > 1).all(axis=1)
    order = np.flatnonzero(large)[np.argsort(-depth[large], kind="stable")]
    return before[order], rectangles[order]
