"""The objects of one keyframe: the points inside each box and the crop of the camera that shows it largest.

What is as in CMT's tool: boxes with a LiDAR or radar point, ten past sweeps, returns of the vehicle itself left out of
the sweeps (moved by the ego motion they would land in the box of a follower), crops of more than 10 px both ways,
cut to whole pixels in the same way.

What is not: a keyframe without sweeps is not padded with copies of its own points (an object with one point would count
eleven); objects without any point are left out; a camera counts if all eight corners are in front of it (upstream looks
at the third corner alone) and the largest crop is taken (upstream never records the size, so its last camera wins).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from aqr_core.data.database.packed import KeyframeObjects
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.image_paste import visible_rectangles
from aqr_core.data.transforms.loading import LoadMultiViewImageFromFiles, read_keyframe_points, read_sweep_points
from aqr_core.errors import DataError
from aqr_core.infos.schema import Info
from aqr_core.structures.boxes3d import DX, DY, X, Y, box_corners, points_in_boxes

_CLOSE_M = 1.0
_ROUNDING_M = 0.01  # more than float32 loses on coordinates of a kilometre
_MIN_CROP_PX = 10
# On 433 crops of real keyframes: 17 kB each and a mean error of 0.5 grey levels, which blending and resizing hide. PNG
# takes 69 kB, tens of gigabytes more for nuScenes, and three times as long to decode.
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
        images=_crops(dataroot, info, boxes) if with_images and len(boxes) else [b""] * len(boxes),
    )


def _crops(dataroot: Path, info: Info, boxes: np.ndarray) -> list[bytes]:
    frame = Frame(info, dataroot, np.random.default_rng(0))
    try:
        LoadMultiViewImageFromFiles()(frame)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}; or build the database without images (`--no-images`).") from error
    return cut_crops(frame, boxes)


def accumulate_sweeps(dataroot: Path, info: Info, sweeps_num: int) -> np.ndarray:
    """(P, 5) float32: the keyframe's points and those of its newest sweeps, moved here; the last column is the age."""
    sweeps = [read_sweep_points(dataroot, info, sweep, _CLOSE_M) for sweep in info.sweeps[:sweeps_num]]
    return np.concatenate([read_keyframe_points(dataroot, info), *sweeps])


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


def cut_crops(frame: Frame, boxes: np.ndarray) -> list[bytes]:
    """A frame with its images, (n, 9) boxes -> one JPEG per box, empty where no camera shows it well."""
    corners = box_corners(boxes)
    rectangles = np.zeros((len(frame.images), len(boxes), 4), np.int64)
    for own, image, lidar2img in zip(rectangles, frame.images, frame.lidar2img, strict=True):
        visible, found = visible_rectangles(corners, lidar2img, image.shape[1], image.shape[0])
        own[visible] = found
    sides = rectangles[..., 2:] - rectangles[..., :2]
    areas = np.where((sides > _MIN_CROP_PX).all(axis=-1), sides.prod(axis=-1), 0)  # (cameras, n)
    crops = []
    for index, camera in enumerate(areas.argmax(axis=0)):
        left, top, right, bottom = rectangles[camera, index]
        seen = areas[camera, index] > 0
        crops.append(encode_crop(frame.images[camera][top:bottom, left:right]) if seen else b"")
    return crops


def encode_crop(crop: np.ndarray) -> bytes:
    """(h, w, 3) uint8 BGR -> the JPEG that a database keeps."""
    done, data = cv2.imencode(".jpg", crop, _JPEG)
    assert done, f"a crop of shape {crop.shape} was not encoded"
    return data.tobytes()
