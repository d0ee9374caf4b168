from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.data.transforms import (
    NormalizeMultiviewImage,
    PadMultiViewImage,
    RandomImageGain,
    ResizeCropFlipImage,
)
from aqr_core.errors import ConfigError
from aqr_core.structures.frames import project_points

WIDTH, HEIGHT = 160, 90


def points_in_view(frame):
    """Points and their pixels in each of the two images."""
    for image, lidar2img in zip(frame.images, frame.lidar2img, strict=True):
        pixels, depth = project_points(lidar2img, frame.points[:, :3])
        size = image.shape[1::-1]
        seen = (depth > 0.5) & (pixels > 1).all(axis=1) & (pixels < np.array(size) - 2).all(axis=1)
        yield frame.points[seen], pixels[seen]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.floats(0.3, 1.5),
    height=st.integers(16, 96),
    width=st.integers(16, 200),
    training=st.booleans(),
)
def test_points_stay_on_their_pixels(new_frame, seed, low, height, width, training):
    """Each source pixel holds its own coordinates, so the moved image itself says where a point should be."""
    frame = new_frame(seed)
    source_lidar2img = frame.lidar2img
    conf = {"resize_lim": (low, low * 1.3), "final_dim": (height, width), "rand_flip": True}
    ResizeCropFlipImage(conf, training=training)(frame)
    PadMultiViewImage(32)(frame)
    scale = abs(frame.cam2img[0, 0, 0]) / 100
    for i, (points, pixels) in enumerate(points_in_view(frame)):
        assert frame.images[i].shape[0] % 32 == 0 and frame.images[i].shape[1] % 32 == 0
        columns, rows = np.rint(pixels).astype(int).T
        sampled = frame.images[i][rows, columns]
        source, _ = project_points(source_lidar2img[i], points[:, :3])
        # Away from padding and from the border, where interpolation runs out of pixels.
        clear = (sampled[:, 2] == 1) & (source > 1).all(axis=1) & (source < (WIDTH - 2, HEIGHT - 2)).all(axis=1)
        # Rounding to a pixel, the mirror's and the resize's half pixels, and the rounded size: two target pixels.
        assert (np.abs(sampled[clear, :2] - source[clear]) < 2 / scale).all()


def test_official_test_parameters(new_frame):
    """1600 x 900 to 800 x 320 as in CMT: scale 0.5, the top 130 rows cut, no flip."""
    frame = new_frame(0)
    frame.images = [np.zeros((900, 1600, 3), np.uint8)] * 2
    before = frame.cam2img.copy()
    conf = {"resize_lim": (0.47, 0.625), "final_dim": (320, 800), "rand_flip": True}
    ResizeCropFlipImage(conf, training=False)(frame)
    assert frame.images[0].shape == (320, 800, 3)
    expected = before.copy()
    expected[:, :2, :3] *= 0.5
    expected[:, 1, 2] -= 130
    np.testing.assert_allclose(frame.cam2img, expected)


def test_flip_mirrors_pixels_and_matrix(new_frame):
    conf = {"resize_lim": (1.0, 1.0), "final_dim": (HEIGHT, WIDTH), "rand_flip": True}
    flips = 0
    for seed in range(20):
        frame = new_frame(seed)
        ResizeCropFlipImage(conf)(frame)
        first_row = frame.images[0][0, :, 0]
        if frame.cam2img[0, 0, 0] < 0:
            flips += 1
            np.testing.assert_array_equal(first_row, np.arange(WIDTH)[::-1])
            assert frame.cam2img[0, 0, 2] == WIDTH - 80
        else:
            np.testing.assert_array_equal(first_row, np.arange(WIDTH))
    assert 4 <= flips <= 16


def test_a_smaller_image_is_padded_at_the_top_and_right(new_frame):
    frame = new_frame(0)
    ResizeCropFlipImage({"resize_lim": (0.5, 0.5), "final_dim": (64, 96)})(frame)
    inside = frame.images[0][..., 2] == 1
    assert inside[19:, :80].all()
    assert not inside[:19].any() and not inside[:, 80:].any()


def test_normalisation_is_that_of_cmt(new_frame):
    frame = new_frame(0)
    frame.images = [np.full((4, 4, 3), 255, np.uint8)]
    NormalizeMultiviewImage()(frame)
    assert frame.images[0].dtype == np.float32
    np.testing.assert_allclose(
        frame.images[0][0, 0], [(255 - 103.530) / 57.375, (255 - 116.280) / 57.120, (255 - 123.675) / 58.395], rtol=1e-6
    )


def test_padding_is_zero_and_at_the_bottom_right(new_frame):
    frame = new_frame(0)
    frame.images = [np.ones((20, 33, 3), np.float32)]
    PadMultiViewImage(32)(frame)
    assert frame.images[0].shape == (32, 64, 3)
    assert frame.images[0].sum() == 20 * 33 * 3
    assert frame.images[0][:20, :33].all()


def test_gain_scales_all_cameras_alike_and_clips(new_frame):
    frame = new_frame(3)
    frame.images = [np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 250, np.uint8)]
    RandomImageGain(brightness=0.5, colour=0.1)(frame)
    low, high = (image[0, 0].astype(float) for image in frame.images)
    assert (low >= 45).all() and (low <= 165).all() and (low != 100).any()
    np.testing.assert_allclose(high, np.minimum(low * 2.5, 255), atol=2.5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResizeCropFlipImage({"final_dims": (1, 1)}), "does not take 'final_dims'. Did you mean 'final_dim'"),
        (lambda: ResizeCropFlipImage({"final_dim": (1, 1)}), "needs final_dim.*and resize_lim"),
        (lambda: PadMultiViewImage(0), "size_divisor is 0"),
        (lambda: NormalizeMultiviewImage(std=(1, 1, 0)), "three positive stds"),
        (lambda: RandomImageGain(brightness=1.5), "gains in"),
    ],
)
def test_wrong_parameters(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
