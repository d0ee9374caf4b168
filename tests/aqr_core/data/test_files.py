from __future__ import annotations

import cv2
import numpy as np
import pytest

from aqr_core.data.files import find_sensor_file, read_image, read_points
from aqr_core.errors import DataError


def write_jpeg(path, size=(64, 48)):
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    return path


def test_points(tmp_path):
    path = tmp_path / "points.bin"
    points = np.arange(10, dtype="<f4").reshape(2, 5)
    points.tofile(path)
    np.testing.assert_array_equal(read_points(path, 5), points)
    path.write_bytes(b"")
    assert read_points(path, 5).shape == (0, 5)


@pytest.mark.parametrize("size", [1, 39, 41, 44])
def test_point_file_of_odd_length(tmp_path, size):
    path = tmp_path / "points.bin"
    path.write_bytes(b"\0" * size)
    with pytest.raises(DataError, match=rf"points\.bin has {size} bytes, not a multiple of 20 .*copy it again"):
        read_points(path, 5)


def test_nan_points_are_counted(tmp_path):
    path = tmp_path / "points.bin"
    points = np.zeros((7, 5), np.float32)
    points[2, 1], points[4, 4], points[4, 0] = np.nan, np.inf, np.nan
    points.tofile(path)
    with pytest.raises(DataError, match=r"points\.bin: 2 of 7 points hold NaN or infinity; copy the file again"):
        read_points(path, 5)


def test_image_is_bgr(tmp_path):
    path = tmp_path / "blue.png"
    cv2.imwrite(str(path), np.full((4, 6, 3), (255, 0, 0), np.uint8))
    image = read_image(path)
    assert image.shape == (4, 6, 3)
    assert image[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95, 0.999])
def test_a_cut_jpeg_is_noticed(tmp_path, kept):
    path = write_jpeg(tmp_path / "image.jpg")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError, match=r"image\.jpg is a JPEG without an end .*copy it again"):
        read_image(path)


def test_padding_behind_the_end_of_a_jpeg_is_fine(tmp_path):
    path = write_jpeg(tmp_path / "image.jpg")
    path.write_bytes(path.read_bytes() + b"\0" * 7)
    assert read_image(path).shape == (48, 64, 3)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8 garbage \xff\xd9"])
def test_not_an_image(tmp_path, content):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"image\.jpg is no image that OpenCV can decode"):
        read_image(path)


def test_files_are_found_in_both_layouts(tmp_path):
    (tmp_path / "samples/CAM_BACK").mkdir(parents=True)
    standard, flat = tmp_path / "samples/CAM_BACK/a.jpg", tmp_path / "b.jpg"
    standard.touch()
    flat.touch()
    assert find_sensor_file(tmp_path, "samples/CAM_BACK/a.jpg") == standard
    assert find_sensor_file(tmp_path, "samples/CAM_BACK/b.jpg") == flat
    with pytest.raises(DataError, match=r"samples/CAM_BACK/c\.jpg does not exist; `aqr prepare` lists"):
        find_sensor_file(tmp_path, "samples/CAM_BACK/c.jpg")
