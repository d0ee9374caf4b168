"""One keyframe of an mmdetection3d info pickle as the record that `parse_info` checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aqr_core.infos.mmdet3d_format import KEYFRAME_FOLDER, MMDET3D_ATTRIBUTES, SWEEP_FOLDER, camera_folder
from aqr_core.infos.schema import POINT_FEATURES
from aqr_core.structures.frames import invert_rigid
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.geometry import pose_matrix

LABEL = {name: label for label, name in enumerate(DETECTION_CLASSES)}
_TIME_DIGITS = 6  # nuScenes counts microseconds; the difference of two floats near 1.5e9 s is a quarter of one off


def record_v1_1(frame: Mapping[str, Any]) -> dict[str, Any]:
    """All but the boxes of a keyframe of `data_list`, as `parse_info` takes them."""
    lidar, timestamp = frame["lidar_points"], float(frame["timestamp"])
    global2lidar = invert_rigid(_lidar2global(frame))
    return {
        **_common_fields(frame, timestamp),
        "ego2global": frame["ego2global"],
        "lidar": _lidar_record(lidar["lidar_path"], lidar["lidar2ego"], lidar.get("num_pts_feats")),
        "sweeps": [
            {
                "path": _relative(sweep["lidar_points"]["lidar_path"], SWEEP_FOLDER),
                "age": round(timestamp - sweep["timestamp"], _TIME_DIGITS),
                "sweep2lidar": global2lidar @ _lidar2global(sweep),
            }
            for sweep in frame.get("lidar_sweeps", ())
        ],
        "cameras": {
            channel: _camera_record(
                channel,
                camera["img_path"],
                camera["timestamp"],
                camera["cam2img"],
                camera["lidar2cam"],
                (camera.get("width"), camera.get("height")),
            )
            for channel, camera in frame["images"].items()
        },
    }


def record_v1_0(frame: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a keyframe of `infos`."""
    timestamp = frame["timestamp"] / 1e6
    return {
        **_common_fields(frame, timestamp),
        "ego2global": pose_matrix(frame["ego2global_translation"], frame["ego2global_rotation"]),
        "lidar": _lidar_record(
            frame["lidar_path"], pose_matrix(frame["lidar2ego_translation"], frame["lidar2ego_rotation"])
        ),
        "sweeps": [
            {
                "path": _relative(sweep["data_path"], SWEEP_FOLDER),
                "age": (frame["timestamp"] - sweep["timestamp"]) / 1e6,
                "sweep2lidar": _sensor2lidar(sweep),
            }
            for sweep in frame.get("sweeps", ())
        ],
        "cameras": {
            channel: _camera_record(
                channel,
                camera["data_path"],
                camera["timestamp"] / 1e6,
                camera["cam_intrinsic"],
                invert_rigid(_sensor2lidar(camera)),
            )
            for channel, camera in frame["cams"].items()
        },
    }


def _lidar2global(frame: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(frame["ego2global"], np.float64) @ np.asarray(frame["lidar_points"]["lidar2ego"], np.float64)


def _sensor2lidar(sensor: Mapping[str, Any]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = sensor["sensor2lidar_rotation"]
    pose[:3, 3] = sensor["sensor2lidar_translation"]
    return pose


def _common_fields(frame: Mapping[str, Any], timestamp: float) -> dict[str, Any]:
    """Scene and links are believed together or not at all: without links, no keyframe would be known to be a first."""
    linked = "prev" in frame and "next" in frame
    return {
        "token": frame["token"],
        "scene": frame.get("scene_name", frame.get("scene_token", "")) if linked else "",
        "timestamp": timestamp,
        "prev": frame["prev"] if linked else "",
        "next": frame["next"] if linked else "",
    }


def _lidar_record(path: str, lidar2ego: ArrayLike, num_features: int | None = None) -> dict[str, Any]:
    # These files say 4 or 5 for the same five columns; only more is news.
    columns = max(num_features or 0, POINT_FEATURES)
    return {"path": _relative(path, KEYFRAME_FOLDER), "lidar2ego": lidar2ego, "num_features": columns}


def _camera_record(
    channel: str,
    path: str,
    timestamp: float,
    cam2img: ArrayLike,
    lidar2cam: ArrayLike,
    size: tuple[int | None, int | None] = (None, None),
) -> dict[str, Any]:
    width, height = size
    return {
        "path": _relative(path, camera_folder(channel)),
        "width": width,
        "height": height,
        "timestamp": timestamp,
        "cam2img": cam2img,
        "lidar2cam": lidar2cam,
    }


def ground_truth_record(frame: Mapping[str, Any], is_v1_1: bool, names: list[str], boxes: np.ndarray) -> dict[str, Any]:
    """The boxes of the ten classes; the others carry the label -1 or the name of their raw category."""
    known = [i for i, name in enumerate(names) if name in LABEL]
    if is_v1_1:
        instances = [frame["instances"][i] for i in known]
        lidar_pts = [instance["num_lidar_pts"] for instance in instances]
        radar_pts = [instance["num_radar_pts"] for instance in instances]
        valid = [instance["bbox_3d_isvalid"] for instance in instances]
        attributes = [_attribute(instance) for instance in instances]
    else:
        lidar_pts, radar_pts, valid = (
            [frame[key][i] for i in known] for key in ("num_lidar_pts", "num_radar_pts", "valid_flag")
        )
        attributes = [""] * len(known)
    return {
        "boxes": boxes[known],
        "labels": [LABEL[names[i]] for i in known],
        "num_lidar_pts": lidar_pts,
        "num_radar_pts": radar_pts,
        "attributes": attributes,
        "valid": valid,
        "instances": [""] * len(known),
    }


def _attribute(instance: Mapping[str, Any]) -> str:
    label = instance.get("attr_label", len(MMDET3D_ATTRIBUTES) - 1)
    if not 0 <= label < len(MMDET3D_ATTRIBUTES):
        raise ValueError(f"attr_label is {label}, not a number from 0 to {len(MMDET3D_ATTRIBUTES) - 1}")
    return MMDET3D_ATTRIBUTES[label]


def valid_flags(frame: Mapping[str, Any], is_v1_1: bool) -> Sequence[bool]:
    """One per box of the file, of any class."""
    if is_v1_1:
        return [instance["bbox_3d_isvalid"] for instance in frame.get("instances", ())]
    return frame["valid_flag"] if len(frame.get("gt_names", ())) else ()


def _relative(path: str, folder: str) -> str:
    """`.../samples/CAM_FRONT/name.jpg` or a bare name -> the path below the dataroot."""
    parts = PurePosixPath(str(path).replace("\\", "/")).parts
    if len(parts) >= 3 and parts[-3] in ("samples", "sweeps"):
        return "/".join(parts[-3:])
    return f"{folder}/{parts[-1]}"
