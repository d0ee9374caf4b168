"""Writes info pickles of mmdetection3d, format 1.1, which its versions 1.1 to 1.4 read.

Every field has the meaning that mmdet3d's own `create_data.py` gives it, so that its unmodified dataset makes the same
of both; what that tool leaves out and mmdet3d does not mind is added: image sizes, attributes, the scene and its links.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aqr_core.checkpoint.atomic import replacing_file
from aqr_core.errors import DataError
from aqr_core.infos.mmdet3d_format import (
    INFO_VERSION,
    KEYFRAME_FOLDER,
    MMDET3D_ATTRIBUTES,
    MMDET3D_CLASSES,
    SWEEP_FOLDER,
    camera_folder,
)
from aqr_core.infos.plain_pickle import write_plain_pickle
from aqr_core.infos.schema import CameraInfo, GroundTruth, Info, InfosHeader
from aqr_core.structures.boxes3d import VX
from aqr_core.structures.frames import invert_rigid

_TIME_DIGITS = 6  # nuScenes counts microseconds


def write_mmdet3d_infos(path: Path, header: InfosHeader, infos: Iterable[Info]) -> None:
    """Write a pickle, which appears when it is complete.

    Args:
        path: the file; one that is there is replaced.
        header: what the infos' labels count, their version and split.
        infos: keyframes, taken one at a time.

    Raises:
        DataError: a sensor file lies where mmdet3d would not look.
    """
    metainfo = {
        "categories": {name: label for label, name in enumerate(MMDET3D_CLASSES)},
        "dataset": "nuscenes",
        "version": header.dataset_version,
        "info_version": INFO_VERSION,
        "split": header.split,
        "max_sweeps": header.max_sweeps,
    }
    records = (info_to_mmdet3d(info, index, header.classes) for index, info in enumerate(infos))
    with replacing_file(path) as unfinished, unfinished.open("wb") as file:
        write_plain_pickle(file, {"metainfo": metainfo, "data_list": records})


def info_to_mmdet3d(info: Info, sample_idx: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """One keyframe as an entry of `data_list`.

    Args:
        info: the keyframe.
        sample_idx: its position in the file, by which mmdet3d's metric finds it again.
        classes: what its labels count.

    Raises:
        DataError: a sensor file lies where mmdet3d would not look.
    """
    record = {
        "sample_idx": sample_idx,
        "token": info.token,
        "timestamp": info.timestamp,
        "ego2global": info.ego2global.tolist(),
        "scene_name": info.scene,
        "prev": info.prev,
        "next": info.next,
        "images": {channel: _image(info, channel, camera) for channel, camera in info.cameras.items()},
        "lidar_points": {
            "num_pts_feats": info.lidar.num_features,
            "lidar_path": _file_name(info, info.lidar.path, KEYFRAME_FOLDER),
            "lidar2ego": info.lidar.lidar2ego.tolist(),
        },
        "instances": _instances(info.gt, classes),
    }
    if info.sweeps:  # mmdet3d pads a keyframe without this field, and not one with an empty list
        record["lidar_sweeps"] = _sweeps(info)
    return record


def _sweeps(info: Info) -> list[dict[str, Any]]:
    """Where the vehicle was follows from the motion and the LiDAR's place on it, which is one for all sweeps."""
    lidar2ego = info.lidar.lidar2ego
    lidar2global = info.ego2global @ lidar2ego
    records = []
    for sweep in info.sweeps:
        _file_name(info, sweep.path, KEYFRAME_FOLDER, SWEEP_FOLDER)
        records.append(
            {
                "timestamp": round(info.timestamp - sweep.age, _TIME_DIGITS),
                "ego2global": (lidar2global @ sweep.sweep2lidar @ invert_rigid(lidar2ego)).tolist(),
                "lidar_points": {
                    "lidar_path": sweep.path,
                    "lidar2ego": lidar2ego.tolist(),
                    # From the keyframe's LiDAR to the sweep's. mmdet3d moves points by `p @ R - t` of it, which is the
                    # way back only while the vehicle drives straight on; its own files have the same pose.
                    "lidar2sensor": invert_rigid(sweep.sweep2lidar).tolist(),
                },
            }
        )
    return records


def _image(info: Info, channel: str, camera: CameraInfo) -> dict[str, Any]:
    record = {
        "img_path": _file_name(info, camera.path, camera_folder(channel)),
        "timestamp": camera.timestamp,
        "cam2img": camera.cam2img.tolist(),
        "lidar2cam": camera.lidar2cam.tolist(),
    }
    if camera.width is not None:
        record.update(height=camera.height, width=camera.width)
    return record


def _instances(gt: GroundTruth, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    labels = [MMDET3D_CLASSES.index(classes[label]) for label in gt.labels]
    attributes = [MMDET3D_ATTRIBUTES.index(name) for name in gt.attributes]
    columns = (gt.boxes.tolist(), gt.num_lidar_pts.tolist(), gt.num_radar_pts.tolist(), gt.valid.tolist())
    return [
        {
            "bbox_label": label,
            "bbox_label_3d": label,
            "bbox_3d": box[:VX],
            "velocity": box[VX:],
            "num_lidar_pts": lidar_pts,
            "num_radar_pts": radar_pts,
            "bbox_3d_isvalid": is_valid,
            "attr_label": attribute,
        }
        for label, attribute, box, lidar_pts, radar_pts, is_valid in zip(labels, attributes, *columns, strict=True)
    ]


def _file_name(info: Info, path: str, *folders: str) -> str:
    folder, _, name = path.rpartition("/")
    if folder not in folders:
        raise DataError(
            f"Sample '{info.token}': {path} is not in {' or '.join(folders)}, and mmdet3d looks for a bare name there; "
            "keep the folders of nuScenes, or stay with the infos of `aqr prepare`."
        )
    return name
