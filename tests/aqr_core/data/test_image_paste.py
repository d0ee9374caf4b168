import numpy as np
import pytest

from aqr_core.data.transforms.image_paste import paste_objects, visible_rectangles
from aqr_core.errors import ConfigError
from aqr_core.structures.boxes3d import box_corners

WIDTH, HEIGHT = 160, 90
# Looks along the LiDAR's y: u = 80 + 100 x / y, v = 45 - 100 z / y.
LIDAR2IMG = np.array([[100.0, 80, 0, 0], [0, 45, -100, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def _cube(x, y, z=0.0, size=2.0):
    return [x, y, z, size, size, size, 0, 0, 0]


def _paste(images, boxes, crops, rate=0.5):
    """The images after pasting."""
    paste_objects(images, np.stack([LIDAR2IMG] * len(images)), np.array(boxes), crops.__getitem__, rate)
    return images


def _plain(value, height=HEIGHT, width=WIDTH):
    return np.full((height, width, 3), value, np.uint8)


def test_rectangle_by_hand():
    # The near face of a 2 m cube whose centre is 10 m ahead lies at y = 9: 100 / 9 = 11.1 px around the middle.
    chosen, rectangles = visible_rectangles(box_corners(np.array([_cube(0, 10)])), LIDAR2IMG, WIDTH, HEIGHT)
    assert chosen.tolist() == [0]
    assert rectangles.tolist() == [[68, 33, 91, 56]]  # 80 -+ 11.1 and 45 -+ 11.1, cut


def test_only_boxes_wholly_ahead_and_larger_than_a_pixel_are_visible():
    boxes = [
        _cube(0, -10),  # behind
        _cube(0, 0.5),  # its back corners are behind
        _cube(0, 30),
        _cube(40, 10),  # beside the picture: clipped to nothing
        _cube(0, 200, size=0.5),  # a quarter of a pixel around the middle
    ]
    chosen, _ = visible_rectangles(box_corners(np.array(boxes)), LIDAR2IMG, WIDTH, HEIGHT)
    assert chosen.tolist() == [2]


def test_rectangles_are_clipped_to_the_last_pixel_and_sorted_from_far_to_near():
    boxes = [_cube(0, 3), _cube(0, 30), _cube(0, 10)]
    chosen, rectangles = visible_rectangles(box_corners(np.array(boxes)), LIDAR2IMG, WIDTH, HEIGHT)
    assert chosen.tolist() == [1, 2, 0]
    assert rectangles[2].tolist() == [30, 0, 130, HEIGHT - 1]  # 45 -+ 50 leaves the picture


def test_blend_by_hand():
    (image,) = _paste([_plain(100)], [_cube(0, 10)], [_plain(201, 5, 7)])
    assert (image[33:56, 68:91] == 150).all()  # 150.5 is cut, as upstream cuts it
    (even,) = _paste([_plain(100)], [_cube(0, 10)], [_plain(200, 5, 7)])
    assert (even[33:56, 68:91] == 150).all()
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[33:56, 68:91] = False
    assert (image[outside] == 100).all()


@pytest.mark.parametrize(("rate", "value"), [(1.0, 201), (0.25, 125)])
def test_rate_is_the_share_of_the_crop(rate, value):
    (image,) = _paste([_plain(100)], [_cube(0, 10)], [_plain(201, 5, 7)], rate)
    assert (image[40, 80] == value).all()


def test_every_pair_of_levels_is_cut_at_one_half():
    scene, crop = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    # A cube around y = 2, of half size 1: 80 -+ 100 clipped to a picture of 257 columns and rows is its whole.
    lidar2img = np.array([[1e4, 128, 0, 0], [0, 128, -1e4, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    pasted = np.zeros((257, 257, 3), np.uint8)
    pasted[:256, :256] = scene[..., None]
    crops = [np.repeat(crop[..., None], 3, axis=2)]
    paste_objects([pasted], lidar2img[None], np.array([_cube(0, 2)]), crops.__getitem__, 0.5)
    expected = (scene.astype(int) + crop) // 2
    np.testing.assert_array_equal(pasted[:256, :256], np.repeat(expected[..., None], 3, axis=2))


def test_near_objects_are_pasted_over_far_ones():
    crops = [_plain(200, 5, 5), _plain(40, 5, 5)]
    (image,) = _paste([_plain(0)], [_cube(0, 10), _cube(0, 30)], crops)
    assert (image[45, 80] == 110).all()  # 0 -> (0 + 40) / 2 = 20 -> (20 + 200) / 2; near first would give 70
    (image,) = _paste([_plain(0)], [_cube(0, 30), _cube(0, 10)], crops[::-1])
    assert (image[45, 80] == 110).all()


def test_crop_is_stretched_to_the_rectangle():
    crop = np.zeros((4, 4, 3), np.uint8)
    crop[:, 2:] = 255  # right half
    (image,) = _paste([_plain(0)], [_cube(0, 10)], [crop], rate=1.0)
    assert (image[33:56, 68:73] == 0).all() and (image[33:56, 86:91] == 255).all()


def test_images_of_different_sizes_objects_without_crop_and_untouched_cameras():
    images = [_plain(100), _plain(100, 45, 85), _plain(100)]
    lidar2img = np.stack([LIDAR2IMG, LIDAR2IMG, np.diag([1, -1, 1, 1]) @ LIDAR2IMG @ np.diag([1, -1, 1, 1])])
    boxes, crops = np.array([_cube(0, 10), _cube(0, 20)]), [_plain(200, 3, 3), None]
    paste_objects(images, lidar2img, boxes, crops.__getitem__, 0.5)
    assert (images[0][33:56, 68:91] == 150).all()
    assert (images[1][33:44, 68:84] == 150).all() and (images[1][44] == 100).all()
    assert (images[2] == 100).all()  # looks the other way


def test_normalised_images_are_refused():
    with pytest.raises(ConfigError, match="images of float32; put it before NormalizeMultiviewImage"):
        _paste([_plain(0).astype(np.float32)], [_cube(0, 10)], [_plain(1)])
