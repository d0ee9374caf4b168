"""The fast forms of the loader give the bits of the plain ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from aqr_core.data.transforms import (
    GlobalRotScaleTransAll,
    NormalizeMultiviewImage,
    PointShuffle,
    PointsRangeFilter,
    ResizeCropFlipImage,
)
from aqr_core.data.transforms.scene import move_points

MEAN, STD = np.float32([103.530, 116.280, 123.675]), np.float32([57.375, 57.120, 58.395])


@pytest.fixture
def points() -> np.ndarray:
    """A cloud that is large enough for every path of BLAS, with points on the border of the range below."""
    cloud = np.random.default_rng(0).uniform(-60, 60, (20_011, 5)).astype(np.float32)
    cloud[:6, :3] = [[54, 0, 0], [-54, 0, 0], [0, 54, 0], [0, -54, 0], [0, 0, 3], [0, 0, -5]]
    return cloud


def test_moved_points(points):
    motion = np.eye(4)
    motion[:3, :3] = 1.07 * np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.01], [0.0, -0.01, 1.0]])
    motion[:3, 3] = 0.3, -7.1, 0.02
    plain = points[:, :3] @ motion[:3, :3].astype(np.float32).T + motion[:3, 3].astype(np.float32)
    rest = points[:, 3:].copy()
    move_points(points, motion)
    assert points[:, :3].tobytes() == plain.tobytes()
    assert points[:, 3:].tobytes() == rest.tobytes()


@pytest.mark.parametrize("diagonal", [(-1, 1, 1), (1, -1, 1), (-1, -1, 1), (1.07, 1.07, 1.07), (1, 1, 1)])
@pytest.mark.parametrize("shift", [(0, 0, 0), (0.3, -7.1, 0)])
def test_mirrored_and_scaled_points(points, diagonal, shift):
    motion = np.diag([*diagonal, 1.0])
    motion[:3, 3] = shift
    plain = points.copy()
    plain[:, :3] = points[:, :3] @ motion[:3, :3].astype(np.float32).T + motion[:3, 3].astype(np.float32)
    move_points(points, motion)
    assert points.tobytes() == plain.tobytes()


def test_each_point_moves_as_if_alone(points):
    """So that what is pasted, filtered or read in another order cannot change the others."""
    motion = np.diag([1.07, 1.07, 1.07, 1.0])
    motion[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    alone = points[777:779].copy()
    move_points(points, motion)
    move_points(alone, motion)
    assert alone.tobytes() == points[777:779].tobytes()


def test_filtered_and_shuffled_points(new_frame, points):
    low, high = np.float32([-54, -54, -5]), np.float32([54, 54, 3])
    frame, twin = new_frame(3), new_frame(3)
    frame.points = points
    PointsRangeFilter((*low.tolist(), *high.tolist()))(frame)
    plain = points[((points[:, :3] > low) & (points[:, :3] < high)).all(axis=1)]
    assert frame.points.tobytes() == plain.tobytes()
    PointShuffle()(frame)
    generator = torch.Generator().manual_seed(int(twin.rng.integers(2**63)))
    order = torch.randperm(len(plain), generator=generator, dtype=torch.int32)
    assert frame.points.tobytes() == plain[order.numpy()].tobytes()


def test_the_source_of_points_is_not_written_to(new_frame, points):
    """A frame without points to keep is filtered to a cloud of its own."""
    frame, before = new_frame(0), points.copy()
    frame.points = points
    PointsRangeFilter((-1e3, -1e3, -1e3, 1e3, 1e3, 1e3))(frame)
    GlobalRotScaleTransAll()(frame)
    assert points.tobytes() == before.tobytes()


@pytest.mark.parametrize("scale", [0.47, 0.55, 0.625])
@pytest.mark.parametrize("flip", [False, True])
def test_images(new_frame, scale, flip):
    pixels = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    frame = new_frame(5)
    frame.images = [pixels, pixels.copy()]
    aug = ResizeCropFlipImage(dict(final_dim=(64, 160), resize_lim=(scale, scale), rand_flip=flip))
    twin = new_frame(5)
    _, at, flipped = aug._parameters(twin)
    aug(frame)
    NormalizeMultiviewImage()(frame)

    resized = cv2.resize(pixels, (int(320 * scale), int(180 * scale)))
    left = int(at * max(0, resized.shape[1] - 160))
    plain = np.zeros((64, 160, 3), np.uint8)
    window = resized[-64:, left : left + 160]
    plain[:, : window.shape[1]] = window
    plain = plain[:, ::-1] if flipped else plain
    for image in frame.images:
        np.testing.assert_array_equal(image, (plain.astype(np.float32) - MEAN) / STD)
    sample = frame.to_sample(0)
    assert np.shares_memory(sample.images.numpy(), frame.images) and sample.images.is_contiguous()
    np.testing.assert_array_equal(sample.images[1].permute(1, 2, 0), frame.images[1])


def test_every_level_of_every_colour_is_normalised_as_in_plain_float32(new_frame):
    frame = new_frame(0)
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for images in ([levels, levels.copy()], [levels, levels[:8]]):  # of one size, and not
        frame.images = list(images)
        NormalizeMultiviewImage()(frame)
        for image, source in zip(frame.images, images, strict=True):
            assert image.dtype == np.float32
            np.testing.assert_array_equal(image, (source.astype(np.float32) - MEAN) / STD)
