"""The ground truth of a split, from the nuScenes tables."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX, Boxes
from aqr_eval.ground_truth.truth import Cameras, GroundTruth
from aqr_eval.nuscenes.annotation_table import AnnotationTable
from aqr_eval.nuscenes.classes import BICYCLE_RACK, CAMERAS, CATEGORY_TO_CLASS, LIDAR, VISIBILITY_LEVEL
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.geometry import invert_rigid, pose_matrix
from aqr_eval.nuscenes.splits import is_official, scenes_of
from aqr_eval.nuscenes.table_stream import append_numbers, dangling, stream_table
from aqr_eval.nuscenes.tables import NuScenesTables


def ground_truth_from_tables(dataroot: str | Path, version: str, split: str, *, cameras: bool = False) -> GroundTruth:
    """Reads the ground truth of a split; its scenes that are absent from the tables are left out, as in the devkit.

    Args:
        dataroot: folder that holds `<version>/`.
        version: e.g. "v1.0-trainval".
        split: official or custom split.
        cameras: also read where the cameras look, which takes more of the tables.

    Raises:
        DataError: tables are missing or broken, the split is unknown, none of its scenes is present, or there
            are no annotations.
    """
    scenes = scenes_of(split, version, dataroot)
    tables = NuScenesTables(dataroot, version)
    samples = np.array(sorted(tables.samples_of(set(scenes) & set(tables.scene_names))), dtype=np.int64)
    if not len(samples):
        raise DataError(
            f"{tables.folder} holds no sample of split {split!r} (its scenes are {', '.join(tables.scene_names[:3])}, "
            f"...): choose the split that belongs to this dataset."
        )
    position = np.full(len(tables.sample_tokens), -1)
    position[samples] = np.arange(len(samples))
    tokens = tuple(tables.sample_tokens[sample] for sample in samples)
    if not len(tables.annotations.token):
        raise DataError(
            f"{tables.folder / 'sample_annotation.json'} is empty, so {split!r} cannot be scored here: the annotations "
            f"of the test set are not public; score another split or submit to the nuScenes server."
        )
    boxes, racks, visibility = _annotated_boxes(tables.annotations, position)
    return GroundTruth(
        tokens=tokens,
        ego_translation=_lidar_places(tables, samples) if cameras else _ego_translations(tables.folder, tokens),
        boxes=boxes,
        bicycle_racks=racks,
        allows_extra_samples=not is_official(split),
        scenes=tuple(tables.scene_names[scene] for scene in tables.sample_scene[samples]),
        descriptions=dict(zip(tables.scene_names, tables.scene_descriptions, strict=True)),
        visibility=visibility,
        cameras=_cameras(tables, samples) if cameras else None,
        name=f"{split} of {version}",
    )


def _lidar_places(tables: NuScenesTables, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """`_ego_translations` where all of the sensor tables are read anyway."""
    rows = tables.sensors.keyframe_row[samples, 0]
    for sample in samples[rows < 0]:
        raise _without_lidar(tables.sample_tokens[sample])
    places: NDArray[np.float64] = tables.sensors.pose_translation[tables.sensors.pose[rows]]
    return places


def _without_lidar(token: str) -> DataError:
    return DataError(
        f"sample_data.json has no {LIDAR} keyframe for sample {token!r}; "
        f"the table was cut, so restore it from the nuScenes archive."
    )


def _cameras(tables: NuScenesTables, samples: NDArray[np.int64]) -> Cameras:
    sensors = tables.sensors
    rows = sensors.keyframe_row[samples][:, 1:]  # (S, C)
    global2img = np.full((*rows.shape, 4, 4), np.nan)
    for sample, camera in np.argwhere(rows >= 0):
        row = rows[sample, camera]
        calibration, pose = sensors.calibrations[sensors.calibration[row]], sensors.pose[row]
        ego2global = pose_matrix(sensors.pose_translation[pose], sensors.pose_rotation_wxyz[pose])
        cam2img = np.eye(4)
        cam2img[:3, :3] = calibration.intrinsic
        global2img[sample, camera] = cam2img @ invert_rigid(ego2global @ calibration.sensor2ego)
    size = np.stack([sensors.width[rows], sensors.height[rows]], axis=-1)
    return Cameras(CAMERAS, global2img, size)


def _annotated_boxes(table: AnnotationTable, position: NDArray[np.int64]) -> tuple[Boxes, Boxes, NDArray[np.int8]]:
    """Boxes of the ten classes, bicycle racks, and visibility of the former, of samples whose position is not -1."""
    class_of_category = {category: CLASS_INDEX[name] for category, name in CATEGORY_TO_CLASS.items()}
    categories = table.instance_category
    label = np.array([class_of_category.get(category, -1) for category in categories], dtype=np.int64)[table.instance]
    rack = np.array([category == BICYCLE_RACK for category in categories], dtype=bool)[table.instance]
    wanted = position[table.sample] >= 0
    _check_attributes(table, wanted & (label >= 0))
    boxes = Boxes(
        sample=position[table.sample],
        label=label,
        translation=table.translation,
        size_wlh=table.size_wlh,
        rotation_wxyz=table.rotation_wxyz,
        velocity=table.velocity,
        score=np.full(len(label), -1.0),
        attribute=np.array([ATTRIBUTE_INDEX.get(name, -1) for name in table.attribute], dtype=np.int64),
        num_pts=table.num_lidar_pts + table.num_radar_pts,
    )
    counted = wanted & (label >= 0)
    visibility = np.array([VISIBILITY_LEVEL.get(name, 0) for name in table.visibility], dtype=np.int8)
    return boxes.select(counted), boxes.select(wanted & rack), visibility[counted]


def _check_attributes(table: AnnotationTable, wanted: NDArray[np.bool_]) -> None:
    for row in np.flatnonzero(wanted):
        if table.attribute[row] not in ATTRIBUTE_INDEX:
            raise DataError(
                f"sample_annotation.json: token {table.token[row]!r} has attribute {table.attribute[row]!r}, which "
                f"nuScenes detection does not know; restore attribute.json from the nuScenes archive."
            )


def _ego_translations(folder: Path, tokens: tuple[str, ...]) -> NDArray[np.float64]:
    """(S, 3) vehicle positions at the LiDAR keyframes; reads two fields of `ego_pose`, all that the metric needs."""
    lidar_calibrations = set(_lidar_calibrations(folder))
    pose_of_sample: dict[str, str] = {}
    fields = ("sample_token", "calibrated_sensor_token", "is_key_frame", "ego_pose_token")
    for sample, calibration, is_keyframe, pose in stream_table(folder, "sample_data", fields):
        if is_keyframe and calibration in lidar_calibrations:
            pose_of_sample[sample] = pose
    for token in tokens:
        if token not in pose_of_sample:
            raise _without_lidar(token)
    wanted = {pose_of_sample[token] for token in tokens}
    position: dict[str, array[float]] = {}
    for pose, translation in stream_table(folder, "ego_pose", ("token", "translation")):
        if pose in wanted:
            position[pose] = array("d")
            append_numbers(position[pose], translation, 3, "ego_pose", pose, "translation")
    for token in tokens:
        if pose_of_sample[token] not in position:
            raise dangling(
                "sample_data", f"LiDAR keyframe of {token}", "ego_pose_token", pose_of_sample[token], "ego_pose"
            )
    return np.array([position[pose_of_sample[token]] for token in tokens], dtype=np.float64).reshape(-1, 3)


def _lidar_calibrations(folder: Path) -> Iterator[str]:
    channel = dict(stream_table(folder, "sensor", ("token", "channel")))
    for token, sensor in stream_table(folder, "calibrated_sensor", ("token", "sensor_token")):
        if sensor not in channel:
            raise dangling("calibrated_sensor", token, "sensor_token", sensor, "sensor")
        if channel[sensor] == LIDAR:
            yield token
