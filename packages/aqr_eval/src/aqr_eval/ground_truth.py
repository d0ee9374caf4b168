"""What a split truly holds: annotated boxes, ego positions and bicycle racks, read from the tables."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX, Boxes
from aqr_eval.nuscenes.annotation_table import AnnotationTable
from aqr_eval.nuscenes.classes import BICYCLE_RACK, CATEGORY_TO_CLASS, LIDAR
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.splits import is_official, scenes_of
from aqr_eval.nuscenes.table_stream import append_numbers, dangling, stream_table
from aqr_eval.nuscenes.tables import NuScenesTables


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated side of an evaluation.

    Attributes:
        tokens: S sample tokens, in the order of `sample.json`.
        ego_translation: (S, 3) vehicle position at the LiDAR keyframe, global, metres.
        boxes: annotated boxes of the ten classes; `sample` indexes `tokens`.
        bicycle_racks: racks; bicycles and motorcycles inside one are left out. Their `label` means nothing.
        allows_extra_samples: whether predictions for other samples are ignored, as the devkit does for
            custom splits, instead of refused.
    """

    tokens: tuple[str, ...]
    ego_translation: NDArray[np.float64]
    boxes: Boxes
    bicycle_racks: Boxes
    allows_extra_samples: bool = False

    def of_samples(self, tokens: Sequence[str]) -> GroundTruth:
        """The same truth for some of its samples, in the order given.

        Raises:
            DataError: a token is not among the samples.
        """
        row = {token: index for index, token in enumerate(self.tokens)}
        absent = [token for token in tokens if token not in row]
        if absent:
            raise DataError(
                f"The ground truth has no sample {absent[0]!r} ({len(absent)} of {len(tokens)} are absent): "
                "choose the split or the tables that these samples belong to."
            )
        rows = np.array([row[token] for token in tokens], dtype=np.int64)
        position = np.full(len(self.tokens), -1)
        position[rows] = np.arange(len(rows))
        boxes, racks = (
            part.with_sample(position[part.sample]).select(position[part.sample] >= 0)
            for part in (self.boxes, self.bicycle_racks)
        )
        return replace(
            self, tokens=tuple(tokens), ego_translation=self.ego_translation[rows], boxes=boxes, bicycle_racks=racks
        )


def load_ground_truth(dataroot: str | Path, version: str, split: str) -> GroundTruth:
    """Reads the ground truth of a split; its scenes that are absent from the tables are left out, as in the devkit.

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
    boxes, racks = _annotated_boxes(tables.annotations, position)
    return GroundTruth(
        tokens=tokens,
        ego_translation=_ego_translations(tables.folder, tokens),
        boxes=boxes,
        bicycle_racks=racks,
        allows_extra_samples=not is_official(split),
    )


def _annotated_boxes(table: AnnotationTable, position: NDArray[np.int64]) -> tuple[Boxes, Boxes]:
    """Boxes of the ten classes, and bicycle racks, of the samples whose position is not -1."""
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
    return boxes.select(wanted & (label >= 0)), boxes.select(wanted & rack)


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
            raise DataError(
                f"sample_data.json has no {LIDAR} keyframe for sample {token!r}; "
                f"the table was cut, so restore it from the nuScenes archive."
            )
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
