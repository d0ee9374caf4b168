"""Reads sensor files, and says what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from aqr_core.errors import DataError

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_TAIL_BYTES = 64  # some writers pad behind the end marker


def find_sensor_file(dataroot: Path, relative: str) -> Path:
    """The file at its nuScenes path, else the file of that name directly in the dataroot.

    The second layout is that of small extracts, such as mmdetection3d's demo frame.

    Raises:
        DataError: it is at neither place.
    """
    path = dataroot / relative
    if path.is_file():
        return path
    flat = dataroot / path.name
    if flat.is_file():
        return flat
    raise DataError(f"{path} does not exist; `aqr prepare` lists all missing files; or correct the dataroot.")


def read_points(path: Path, num_features: int) -> np.ndarray:
    """(P, num_features) float32 from a raw little-endian point file; P may be 0.

    Raises:
        DataError: a length that is not a whole number of points, or NaN among the values.
    """
    values = np.fromfile(path, dtype="<f4")
    size = path.stat().st_size
    row_bytes = 4 * num_features
    if size % row_bytes:
        raise DataError(
            f"{path} has {size} bytes, not a multiple of {row_bytes} ({num_features} float32 per point); it was cut "
            "short, so copy it again."
        )
    points = values.reshape(-1, num_features)
    if not np.isfinite(values).all():  # points are counted after a failure only: per row the check costs 30 times more
        bad = int((~np.isfinite(points).all(axis=1)).sum())
        raise DataError(
            f"{path}: {bad} of {len(points)} points hold NaN or infinity; copy the file again or remove those points."
        )
    return points


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, BGR.

    Raises:
        DataError: not an image, or one that was cut short. (A cut JPEG decodes to a partly grey image without any
            error, so its end marker is looked for.)
    """
    data = path.read_bytes()
    if data.startswith(_JPEG_START) and _JPEG_END not in data[-_TAIL_BYTES:]:
        raise DataError(f"{path} is a JPEG without an end ({len(data)} bytes): it was cut short, so copy it again.")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DataError(f"{path} is no image that OpenCV can decode ({len(data)} bytes); copy it again.")
    return image
