"""What an info is: everything the detector needs to know about one keyframe, checked when it is read.

Poses are (4, 4) float64 `src2dst` matrices; boxes follow `aqr_core.structures.boxes3d`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aqr_core.structures.frames import lidar2img_from
from aqr_eval.nuscenes.classes import CAMERAS, DETECTION_CLASSES

FORMAT = "aqr-infos"
VERSION = 1
POINT_FEATURES = 5  # x, y, z, intensity, ring: the columns of every nuScenes point file


@dataclass(frozen=True)
class InfosHeader:
    """The first line of an infos file.

    Attributes:
        dataset_version: nuScenes version folder, `v1.0-mini` and so on.
        split: name of the split.
        classes: what the labels count.
        cameras: order of the cameras.
        max_sweeps: how many past sweeps a record lists at most.
        source: fingerprint of the tables the file was made from; empty where there were none.
    """

    dataset_version: str
    split: str
    classes: tuple[str, ...] = DETECTION_CLASSES
    cameras: tuple[str, ...] = CAMERAS
    max_sweeps: int = 10
    source: str = ""


@dataclass(frozen=True, eq=False)
class LidarInfo:
    """The keyframe's own sweep.

    Attributes:
        path: point file, relative to the dataroot.
        lidar2ego: (4, 4).
        num_features: float32 columns per point in the file.
    """

    path: str
    lidar2ego: np.ndarray
    num_features: int = POINT_FEATURES


@dataclass(frozen=True, eq=False)
class SweepInfo:
    """A past sweep.

    Attributes:
        path: point file, relative to the dataroot.
        age: seconds before the keyframe, >= 0.
        sweep2lidar: (4, 4) to the keyframe's LiDAR frame, ego motion included.
    """

    path: str
    age: float
    sweep2lidar: np.ndarray


@dataclass(frozen=True, eq=False)
class CameraInfo:
    """One image.

    Attributes:
        path: image file, relative to the dataroot.
        width: pixels; None where the source does not say.
        height: pixels; None where the source does not say.
        timestamp: seconds.
        cam2img: (3, 3) intrinsics.
        lidar2cam: (4, 4), from the LiDAR frame at the LiDAR's time to the camera at the camera's time.
    """

    path: str
    width: int | None
    height: int | None
    timestamp: float
    cam2img: np.ndarray
    lidar2cam: np.ndarray

    @property
    def lidar2img(self) -> np.ndarray:
        """(4, 4) projection, pixels times depth."""
        return lidar2img_from(self.cam2img, self.lidar2cam)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated boxes of the ten classes.

    Attributes:
        boxes: (n, 9) float64, LiDAR frame; velocity NaN where unknown.
        labels: (n,) int64, index into the header's classes.
        num_lidar_pts: (n,) int64, points inside as annotated.
        num_radar_pts: (n,) int64.
        attributes: n attribute names, '' for none.
        valid: (n,) bool, at least one LiDAR or radar point inside.
        instances: n tracks' tokens, '' where the source does not say.
    """

    boxes: np.ndarray
    labels: np.ndarray
    num_lidar_pts: np.ndarray
    num_radar_pts: np.ndarray
    attributes: tuple[str, ...]
    valid: np.ndarray
    instances: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Info:
    """One keyframe.

    Attributes:
        token: nuScenes sample token.
        scene: scene name; '' where the source does not say.
        timestamp: seconds.
        prev: token of the previous keyframe, '' at the start.
        next: token of the next keyframe, '' at the end.
        ego2global: (4, 4) at the LiDAR's time.
        lidar: the keyframe's point file.
        sweeps: past sweeps, newest first.
        cameras: by channel, in the header's order.
        gt: annotated boxes; empty in a test split.
    """

    token: str
    scene: str
    timestamp: float
    prev: str
    next: str
    ego2global: np.ndarray
    lidar: LidarInfo
    sweeps: tuple[SweepInfo, ...]
    cameras: dict[str, CameraInfo]
    gt: GroundTruth

    def lidar2img(self, camera: str) -> np.ndarray:
        """(4, 4) projection of one camera, pixels times depth."""
        return self.cameras[camera].lidar2img


def record_line(record: Mapping[str, Any]) -> bytes:
    """A header or a keyframe as it stands in an infos file: one line of JSON."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def header_to_record(header: InfosHeader) -> dict[str, Any]:
    """The header as the JSON object of the first line."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "dataset_version": header.dataset_version,
        "split": header.split,
        "classes": list(header.classes),
        "cameras": list(header.cameras),
        "max_sweeps": header.max_sweeps,
        "source": header.source,
    }


def info_to_record(info: Info) -> dict[str, Any]:
    """One keyframe as a JSON object; an unknown velocity becomes null."""
    gt = info.gt
    boxes = [[None if value != value else value for value in row] for row in gt.boxes.tolist()]
    return {
        "token": info.token,
        "scene": info.scene,
        "timestamp": info.timestamp,
        "prev": info.prev,
        "next": info.next,
        "ego2global": info.ego2global.tolist(),
        "lidar": {
            "path": info.lidar.path,
            "lidar2ego": info.lidar.lidar2ego.tolist(),
            "num_features": info.lidar.num_features,
        },
        "sweeps": [{"path": s.path, "age": s.age, "sweep2lidar": s.sweep2lidar.tolist()} for s in info.sweeps],
        "cameras": {channel: _camera_to_record(camera) for channel, camera in info.cameras.items()},
        "gt": {
            "boxes": boxes,
            "labels": gt.labels.tolist(),
            "num_lidar_pts": gt.num_lidar_pts.tolist(),
            "num_radar_pts": gt.num_radar_pts.tolist(),
            "attributes": list(gt.attributes),
            "valid": gt.valid.tolist(),
            "instances": list(gt.instances),
        },
    }


def _camera_to_record(camera: CameraInfo) -> Mapping[str, Any]:
    return {
        "path": camera.path,
        "width": camera.width,
        "height": camera.height,
        "timestamp": camera.timestamp,
        "cam2img": camera.cam2img.tolist(),
        "lidar2cam": camera.lidar2cam.tolist(),
    }
