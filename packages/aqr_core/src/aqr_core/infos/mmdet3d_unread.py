"""Which fields of an mmdetection3d info pickle say something that our infos have no place for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Per level, what is read or follows from what is read.
_LINKS = {"token", "timestamp", "scene_name", "scene_token", "prev", "next"}
_LIDAR = {"num_pts_feats", "lidar_path", "lidar2ego", "lidar2sensor"}
_V1_1: dict[str, set[str]] = {
    "": {*_LINKS, "sample_idx", "ego2global", "images", "lidar_points", "lidar_sweeps", "instances"},
    "lidar_points": _LIDAR,
    "lidar_sweeps": {"timestamp", "ego2global", "lidar_points"},
    "images": {"img_path", "timestamp", "cam2img", "lidar2cam", "lidar2img", "width", "height"},
    "instances": {"bbox_label", "bbox_label_3d", "bbox_3d", "velocity", "num_lidar_pts", "num_radar_pts"}
    | {"bbox_3d_isvalid", "attr_label"},
}
_POSES = {f"{prefix}_{part}" for prefix in ("ego2global", "sensor2lidar") for part in ("translation", "rotation")}
_LIDAR_POSE = {"lidar2ego_translation", "lidar2ego_rotation", "ego2global_translation", "ego2global_rotation"}
_BOXES = {"gt_boxes", "gt_names", "gt_velocity", "num_lidar_pts", "num_radar_pts", "valid_flag"}
_V1_0: dict[str, set[str]] = {
    "": {*_LINKS, *_LIDAR_POSE, *_BOXES, "lidar_path", "num_features", "sweeps", "cams"},
    "sweeps": {"data_path", "type", "timestamp", "sensor2ego_translation", "sensor2ego_rotation", *_POSES},
    "cams": {"data_path", "type", "timestamp", "cam_intrinsic", *_POSES},
}


def count_unread(frames: Iterable[Mapping[str, Any]], is_v1_1: bool) -> dict[str, int]:
    """Name of each such field, `images.cam2ego` and the like -> in how many records it is."""
    levels = _V1_1 if is_v1_1 else _V1_0
    found: Counter[str] = Counter()
    for frame in frames:
        for level, known in levels.items():
            for record in _records(frame, level):
                found.update(f"{level}.{key}" if level else key for key in record.keys() - known)
    return dict(sorted(found.items()))


def _records(frame: Mapping[str, Any], level: str) -> Iterator[Mapping[str, Any]]:
    """The records of a level: one, a list of them, or one per camera."""
    value = frame.get(level, ()) if level else frame
    if level in ("images", "cams"):
        value = list(value.values()) if isinstance(value, Mapping) else ()
    for record in (value,) if isinstance(value, Mapping) else value:
        if isinstance(record, Mapping):
            yield record
