"""The part of `sample_data` and `ego_pose` that a detector reads: LiDAR rows and camera keyframes, as columns.

Of v1.0-trainval's 2.6 million rows in each table that is about half a million; radar rows and camera
sweeps are passed over while streaming.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.classes import CAMERAS, LIDAR
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.geometry import pose_matrix
from aqr_eval.nuscenes.table_stream import append_numbers, dangling, stream_table

CHANNELS = (LIDAR, *CAMERAS)  # column order of `SensorTable.keyframe_row`
_FIELDS = (
    "token",
    "sample_token",
    "ego_pose_token",
    "calibrated_sensor_token",
    "is_key_frame",
    "timestamp",
    "filename",
    "width",
    "height",
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """One `calibrated_sensor` row: where a sensor sits on the vehicle and, for cameras, how it projects."""

    channel: str
    sensor2ego: NDArray[np.float64]  # (4, 4)
    intrinsic: NDArray[np.float64] | None  # (3, 3), None for LiDAR and radar


@dataclass(frozen=True, eq=False)
class SensorTable:
    """r rows of LiDAR keyframes and sweeps and of camera keyframes.

    Attributes:
        filename: r paths relative to the dataroot.
        timestamp_us: (r,).
        calibration: (r,) index into `calibrations`.
        calibrations: one entry per calibrated sensor.
        width, height: (r,) pixels, 0 for LiDAR.
        pose: (r,) index into the pose columns.
        pose_translation: (poses, 3) of the vehicle in the global frame, metres.
        pose_rotation_wxyz: (poses, 4).
        keyframe_row: (samples, 7) row of each channel's keyframe in the order of `CHANNELS`, -1 where absent.
        lidar_rows: per scene, its LiDAR rows in time order.
    """

    filename: list[str]
    timestamp_us: NDArray[np.int64]
    calibration: NDArray[np.int64]
    calibrations: list[Calibration]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    pose: NDArray[np.int64]
    pose_translation: NDArray[np.float64]
    pose_rotation_wxyz: NDArray[np.float64]
    keyframe_row: NDArray[np.int64]
    lidar_rows: list[NDArray[np.int64]]


def load_sensors(folder: Path, sample_index: Mapping[str, int], sample_scene: NDArray[np.int64]) -> SensorTable:
    """Reads `sensor`, `calibrated_sensor`, `sample_data` and `ego_pose`.

    Args:
        folder: The version folder.
        sample_index: sample token -> index.
        sample_scene: (samples,) index of each sample's scene.

    Raises:
        DataError: a row lacks a field, holds no number where one belongs or points to a row that is not there.
    """
    calibration_index, calibrations = _load_calibrations(folder)
    column_of = {channel: column for column, channel in enumerate(CHANNELS)}
    keyframe_row = np.full((len(sample_index), len(CHANNELS)), -1)
    pose_index: dict[str, int] = {}
    filename: list[str] = []
    numbers = array("q")  # timestamp, calibration, width, height, pose, scene or -1 for cameras
    rows = stream_table(folder, "sample_data", _FIELDS, defaults={"width": 0, "height": 0})
    for token, sample_token, pose_token, calibration_token, is_keyframe, timestamp, path, width, height in rows:
        try:
            calibration = calibration_index[calibration_token]
        except KeyError:
            raise dangling(
                "sample_data", token, "calibrated_sensor_token", calibration_token, "calibrated_sensor"
            ) from None
        column = column_of.get(calibrations[calibration].channel)
        if column is None or (column > 0 and not is_keyframe):
            continue
        try:
            sample = sample_index[sample_token]
        except KeyError:
            raise dangling("sample_data", token, "sample_token", sample_token, "sample") from None
        if is_keyframe:
            keyframe_row[sample, column] = len(filename)
        scene = int(sample_scene[sample]) if column == 0 else -1
        pose = pose_index.setdefault(pose_token, len(pose_index))
        values = (timestamp, calibration, width or 0, height or 0, pose, scene)
        append_numbers(numbers, values, 6, "sample_data", token, "timestamp, width, height")
        filename.append(path)

    columns = np.array(numbers, dtype=np.int64).reshape(-1, 6).T
    timestamp_us, scene_of_row = columns[0], columns[5]
    translation, rotation = _load_poses(folder, pose_index)
    return SensorTable(
        filename=filename,
        timestamp_us=timestamp_us,
        calibration=columns[1],
        calibrations=calibrations,
        width=columns[2],
        height=columns[3],
        pose=columns[4],
        pose_translation=translation,
        pose_rotation_wxyz=rotation,
        keyframe_row=keyframe_row,
        lidar_rows=_by_scene_and_time(scene_of_row, timestamp_us, int(sample_scene.max(initial=-1)) + 1),
    )


def _load_calibrations(folder: Path) -> tuple[dict[str, int], list[Calibration]]:
    channel = dict(stream_table(folder, "sensor", ("token", "channel")))
    index: dict[str, int] = {}
    calibrations: list[Calibration] = []
    fields = ("token", "sensor_token", "translation", "rotation", "camera_intrinsic")
    for token, sensor_token, translation, rotation, intrinsic in stream_table(folder, "calibrated_sensor", fields):
        if sensor_token not in channel:
            raise dangling("calibrated_sensor", token, "sensor_token", sensor_token, "sensor")
        pose = array("d")
        append_numbers(pose, translation, 3, "calibrated_sensor", token, "translation")
        append_numbers(pose, rotation, 4, "calibrated_sensor", token, "rotation")
        if not any(pose[3:]):
            raise DataError(
                f"calibrated_sensor.json: token {token!r} has an all-zero rotation, which is no quaternion; "
                f"repair the row or restore the table from the nuScenes archive."
            )
        index[token] = len(calibrations)
        calibrations.append(
            Calibration(
                channel=channel[sensor_token],
                sensor2ego=pose_matrix(pose[:3], pose[3:]),
                intrinsic=_intrinsic(token, intrinsic) if intrinsic else None,
            )
        )
    return index, calibrations


def _intrinsic(token: str, rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    flat = array("d")
    for row in rows:
        append_numbers(flat, row, 3, "calibrated_sensor", token, "camera_intrinsic")
    if len(flat) != 9:
        raise DataError(
            f"calibrated_sensor.json: token {token!r} has a camera_intrinsic of {len(rows)} rows where 3 belong; "
            f"restore the table from the nuScenes archive."
        )
    return np.array(flat).reshape(3, 3)


def _load_poses(folder: Path, pose_index: Mapping[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    poses = np.full((len(pose_index), 7), np.nan)
    for token, translation, rotation in stream_table(folder, "ego_pose", ("token", "translation", "rotation")):
        row = pose_index.get(token)
        if row is None:
            continue
        numbers = array("d")
        append_numbers(numbers, translation, 3, "ego_pose", token, "translation")
        append_numbers(numbers, rotation, 4, "ego_pose", token, "rotation")
        poses[row] = numbers
    lost = np.flatnonzero(np.isnan(poses).any(axis=1))
    if len(lost):
        token = list(pose_index)[lost[0]]
        raise DataError(
            f"ego_pose.json has no complete row {token!r} that sample_data.json refers to ({len(lost)} such in all); "
            f"the two tables are of different versions or one was cut, so restore both from the same archive."
        )
    return poses[:, :3], _turned(poses[:, 3:], pose_index)


def _turned(rotation: NDArray[np.float64], pose_index: Mapping[str, int]) -> NDArray[np.float64]:
    zero = np.flatnonzero(~rotation.any(axis=1))
    if len(zero):
        raise DataError(
            f"ego_pose.json: token {list(pose_index)[zero[0]]!r} has an all-zero rotation, which is no quaternion; "
            f"repair the row or restore the table from the nuScenes archive."
        )
    return rotation


def _by_scene_and_time(
    scene: NDArray[np.int64], timestamp_us: NDArray[np.int64], scenes: int
) -> list[NDArray[np.int64]]:
    order = np.lexsort((timestamp_us, scene))
    edges = np.searchsorted(scene[order], np.arange(scenes + 1))
    return [order[begin:end] for begin, end in zip(edges[:-1], edges[1:], strict=True)]
