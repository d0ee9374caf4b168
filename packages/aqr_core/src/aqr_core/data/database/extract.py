"""The objects of one keyframe: the points inside each box and the crop of the camera that shows it largest.

What is as in CMT's tool: boxes with a LiDAR or radar point, ten past sweeps, returns of the vehicle itself left out of
the sweeps (moved by the ego motion they would land in the box of a follower), crops of more than 10 px both ways,
cut to whole pixels in the same way.

What is not: a keyframe without sweeps is not padded with copies of its own points (an object with one point would count
eleven); objects without any point are left out; a camera counts if all eight corners are in front of it (upstream looks
at the third corner alone) and the largest crop is taken (upstream never records the size, so its last camera wins).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from aqr_core.data.database.packed import KeyframeObjects
from aqr_core.data.files import find_sensor_file, read_image, read_points
from aqr_core.errors import DataError
from aqr_core.infos.schema import POINT_FEATURES, CameraInfo, Info
from aqr_core.structures.boxes3d import DX, DY, X, Y, box_corners, points_in_boxes
from aqr_core.structures.frames import project_points

_AGE = 4
_CLOSE_M = 1.0
_ROUNDING_M = 0.01  # more than float32 loses on coordinates of a kilometre
_MIN_CROP_PX = 10
# Half the bytes of the source's own coding and no loss that a crop keeps once it is resized and blended; PNG is four
# to five times larger and slower to decode. Colour is not subsampled: crops are small.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def extract_objects(
    dataroot: Path, info: Info, label_of: np.ndarray, sweeps_num: int, with_images: bool
) -> KeyframeObjects:
    """Cut the objects out of one keyframe.

    Args:
        dataroot: folder that the paths of `info` are relative to.
        info: the keyframe.
        label_of: (K,) label of each class of the infos, -1 for those to leave out.
        sweeps_num: past sweeps at most, the newest ones.
        with_images: cut image crops too.

    Raises:
        DataError: a sensor file is missing or damaged.
    """
    gt = info.gt
    kept = np.flatnonzero(gt.valid & (label_of[gt.labels] >= 0))
    clouds = points_of_boxes(accumulate_sweeps(dataroot, info, sweeps_num), gt.boxes[kept])
    filled = [i for i, cloud in enumerate(clouds) if len(cloud)]
    kept, clouds = kept[filled], [clouds[i] for i in filled]
    boxes = gt.boxes[kept]
    return KeyframeObjects(
        token=info.token,
        instances=tuple(gt.instances[i] for i in kept),
        boxes=boxes,
        labels=label_of[gt.labels[kept]],
        points=clouds,
        images=cut_crops(dataroot, info, boxes) if with_images else [b""] * len(boxes),
    )


def accumulate_sweeps(dataroot: Path, info: Info, sweeps_num: int) -> np.ndarray:
    """(P, 5) float32: the keyframe's points and those of its newest sweeps, moved here; the last column is the age."""
    clouds = [read_points(find_sensor_file(dataroot, info.lidar.path), info.lidar.num_features)[:, :POINT_FEATURES]]
    clouds[0][:, _AGE] = 0.0
    for sweep in info.sweeps[:sweeps_num]:
        cloud = read_points(find_sensor_file(dataroot, sweep.path), info.lidar.num_features)[:, :POINT_FEATURES]
        cloud = cloud[(np.abs(cloud[:, :2]) >= _CLOSE_M).any(axis=1)]
        motion = sweep.sweep2lidar.astype(np.float32)
        cloud[:, :3] = cloud[:, :3] @ motion[:3, :3].T + motion[:3, 3]
        cloud[:, _AGE] = sweep.age
        clouds.append(cloud)
    return np.concatenate(clouds)


def points_of_boxes(points: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """(P, 5) points, (n, 9) boxes -> n arrays (p, 5) float32, the points inside, about the box's gravity centre.

    Most points are far from a box: float32 distances along x, then along y, sort them out before the exact test.
    """
    x, y = np.ascontiguousarray(points[:, :2].T)
    reaches = np.hypot(boxes[:, DX], boxes[:, DY]) / 2 + _ROUNDING_M
    clouds = []
    for box, reach in zip(boxes, reaches.astype(np.float32), strict=True):
        near = np.flatnonzero(np.abs(x - np.float32(box[X])) <= reach)
        near = near[np.abs(y[near] - np.float32(box[Y])) <= reach]
        inside = points[near[points_in_boxes(points[near], box[None])[:, 0]]]
        inside[:, :3] -= box[:3]
        clouds.append(inside)
    return clouds


def cut_crops(dataroot: Path, info: Info, boxes: np.ndarray) -> list[bytes]:
    """One JPEG per (n, 9) box, empty where no camera shows it well; cameras that show none are not decoded."""

    @cache
    def image_of(channel: str) -> np.ndarray:
        return _read_camera(dataroot, info.cameras[channel])

    corners = box_corners(boxes)
    channels = list(info.cameras)
    rectangles = np.stack([_rectangles(info.cameras[name], corners, partial(image_of, name)) for name in channels])
    areas = np.prod(rectangles[..., 2:] - rectangles[..., :2], axis=-1)  # (cameras, n)
    crops = []
    for index, camera in enumerate(areas.argmax(axis=0)):
        if areas[camera, index] == 0:
            crops.append(b"")
            continue
        left, top, right, bottom = rectangles[camera, index]
        crops.append(_encode(image_of(channels[camera])[top:bottom, left:right]))
    return crops


def _rectangles(camera: CameraInfo, corners: np.ndarray, image: Callable[[], np.ndarray]) -> np.ndarray:
    """(n, 8, 3) corners -> (n, 4) int64 left, top, right, bottom in px; zeros where the box is not seen well."""
    if camera.width is not None and camera.height is not None:
        width, height = camera.width, camera.height
    else:
        height, width = image().shape[:2]
    pixels, depths = project_points(camera.lidar2img, corners.reshape(-1, 3))
    pixels = np.clip(pixels.reshape(-1, 8, 2), 0, (width - 1, height - 1))
    rectangles = np.hstack([pixels.min(axis=1), pixels.max(axis=1)]).astype(np.int64)
    seen = (depths.reshape(-1, 8) > 0).all(axis=1)
    seen &= (rectangles[:, 2:] - rectangles[:, :2] > _MIN_CROP_PX).all(axis=1)
    return np.where(seen[:, None], rectangles, 0)


def _read_camera(dataroot: Path, camera: CameraInfo) -> np.ndarray:
    try:
        return read_image(find_sensor_file(dataroot, camera.path))
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}; or build the database without images (`--no-images`).") from error


def _encode(crop: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", crop, _JPEG)
    assert done, f"a crop of shape {crop.shape} was not encoded"
    return data.tobytes()
