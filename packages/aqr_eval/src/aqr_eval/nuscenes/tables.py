"""A nuScenes dataset on disk as a sequence of keyframes.

`NuScenesTables` reads the thirteen relational tables once, row by row, and keeps what a detector and
its evaluation need as compact columns; v1.0-trainval fits in about a gigabyte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.annotation_table import AnnotationTable, load_annotations
from aqr_eval.nuscenes.classes import CATEGORY_TO_CLASS, LIDAR
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.geometry import pose_matrix
from aqr_eval.nuscenes.keyframe import Annotation, Keyframe, SensorFrame
from aqr_eval.nuscenes.sensor_table import CHANNELS, SensorTable, load_sensors
from aqr_eval.nuscenes.table_stream import dangling, stream_table

__all__ = ["TABLES", "Annotation", "Keyframe", "NuScenesTables", "SensorFrame"]

TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)


class NuScenesTables:
    """The tables of one dataset version. The large ones are read on first use.

    Attributes:
        dataroot: folder that holds `<version>/`, `samples/` and `sweeps/`.
        version: e.g. "v1.0-mini".
        scene_names: all scenes in the order of `scene.json`.
        scene_descriptions: what the annotators say of each, "" where the table does not.
        sample_tokens: all samples in the order of `sample.json`.
        sample_timestamp_us: (samples,) sample times.
        sample_scene: (samples,) index into `scene_names`.
    """

    def __init__(self, dataroot: str | Path, version: str) -> None:
        self.dataroot = Path(dataroot)
        self.version = version
        self.folder = self.dataroot / version
        self._require_tables()
        scene_index: dict[str, int] = {}
        names: list[str] = []
        descriptions: list[str] = []
        fields, optional = ("token", "name", "description"), {"description": ""}
        for token, name, description in stream_table(self.folder, "scene", fields, optional):
            scene_index[token] = len(names)
            names.append(name)
            descriptions.append(description)
        self.scene_names: tuple[str, ...] = tuple(names)
        self.scene_descriptions: tuple[str, ...] = tuple(descriptions)
        self._load_samples(scene_index)

    @cached_property
    def annotations(self) -> AnnotationTable:
        """All annotations with their velocities, as columns."""
        return load_annotations(self.folder, self.sample_index, self.sample_timestamp_us)

    @cached_property
    def sensors(self) -> SensorTable:
        """All LiDAR files and camera keyframes, as columns."""
        return load_sensors(self.folder, self.sample_index, self.sample_scene)

    def samples_of(self, scene_names: Iterable[str]) -> list[int]:
        """Sample indices of the scenes, scene by scene as given, each in time order.

        Raises:
            DataError: a scene is not in these tables.
        """
        wanted = list(scene_names)
        unknown = [name for name in wanted if name not in self._samples_of_scene]
        if unknown:
            raise DataError(
                f"{self.folder} has no scene {', '.join(map(repr, unknown[:5]))}"
                f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}: "
                f"choose among its {len(self.scene_names)} scenes (NuScenesTables.scene_names)."
            )
        return [sample for name in wanted for sample in self._samples_of_scene[name]]

    def count_keyframes(self, scene_names: Iterable[str]) -> int:
        """How many keyframes `keyframes` yields."""
        return len(self.samples_of(scene_names))

    def keyframes(self, scene_names: Iterable[str], *, max_sweeps: int = 10) -> Iterator[Keyframe]:
        """Yields the keyframes of the scenes, scene by scene as given, each in time order.

        Args:
            scene_names: scenes of these tables.
            max_sweeps: how many earlier LiDAR files each keyframe carries at most.

        Raises:
            DataError: an unknown scene, a sample without LiDAR keyframe, or a broken table.
        """
        wanted = list(scene_names)
        self.samples_of(wanted)
        for name in wanted:
            yield from self._scene_keyframes(name, max_sweeps)

    def _scene_keyframes(self, scene_name: str, max_sweeps: int) -> Iterator[Keyframe]:
        sensors = self.sensors
        samples = self._samples_of_scene[scene_name]
        keyframe_rows = sensors.keyframe_row[samples]
        for sample, row in zip(samples, keyframe_rows[:, 0], strict=True):
            if row < 0:
                raise DataError(
                    f"sample_data.json has no {LIDAR} keyframe for sample {self.sample_tokens[sample]!r} of "
                    f"{scene_name}; the table was cut, so restore it from the nuScenes archive."
                )
        lidar_rows = sensors.lidar_rows[self.scene_names.index(scene_name)]
        rows = np.union1d(lidar_rows, keyframe_rows[keyframe_rows >= 0])
        frames = dict(zip(rows.tolist(), self._sensor_frames(rows), strict=True))
        lidar_times = sensors.timestamp_us[lidar_rows]
        for sample, channel_rows in zip(samples, keyframe_rows.tolist(), strict=True):
            lidar = frames[channel_rows[0]]
            end = int(np.searchsorted(lidar_times, lidar.timestamp_us))
            newest_first = lidar_rows[max(0, end - max_sweeps) : end][::-1]
            yield Keyframe(
                token=self.sample_tokens[sample],
                scene_name=scene_name,
                timestamp_us=int(self.sample_timestamp_us[sample]),
                prev=self._sample_prev[sample],
                next=self._sample_next[sample],
                lidar=lidar,
                sweeps=tuple(frames[row] for row in newest_first.tolist()),
                cameras={
                    channel: frames[row]
                    for channel, row in zip(CHANNELS[1:], channel_rows[1:], strict=True)
                    if row >= 0
                },
                annotations=tuple(self._annotation(row) for row in self.annotations.rows_of(sample)),
            )

    def _sensor_frames(self, rows: NDArray[np.int64]) -> Iterator[SensorFrame]:
        sensors = self.sensors
        pose = sensors.pose[rows]
        ego2global = pose_matrix(sensors.pose_translation[pose], sensors.pose_rotation_wxyz[pose])
        for row, matrix in zip(rows.tolist(), ego2global, strict=True):
            calibration = sensors.calibrations[sensors.calibration[row]]
            yield SensorFrame(
                channel=calibration.channel,
                filename=sensors.filename[row],
                timestamp_us=int(sensors.timestamp_us[row]),
                sensor2ego=calibration.sensor2ego,
                ego2global=matrix,
                intrinsic=calibration.intrinsic,
                width=int(sensors.width[row]),
                height=int(sensors.height[row]),
            )

    def _annotation(self, row: int) -> Annotation:
        table = self.annotations
        instance = int(table.instance[row])
        category = table.instance_category[instance]
        return Annotation(
            token=table.token[row],
            instance_token=table.instance_token[instance],
            category=category,
            class_name=CATEGORY_TO_CLASS.get(category),
            translation=table.translation[row],
            size_wlh=table.size_wlh[row],
            rotation_wxyz=table.rotation_wxyz[row],
            velocity=table.velocity[row],
            num_lidar_pts=int(table.num_lidar_pts[row]),
            num_radar_pts=int(table.num_radar_pts[row]),
            attribute=table.attribute[row],
            visibility=table.visibility[row],
        )

    def _require_tables(self) -> None:
        if not self.folder.is_dir():
            raise DataError(
                f"{self.folder} does not exist: unpack the nuScenes metadata of {self.version} there, "
                f"or correct the dataroot or version."
            )
        missing = [f"{table}.json" for table in TABLES if not (self.folder / f"{table}.json").is_file()]
        if missing:
            raise DataError(
                f"{self.folder} lacks {', '.join(missing)}: unpack the complete nuScenes metadata archive there."
            )

    def _load_samples(self, scene_index: dict[str, int]) -> None:
        self.sample_index: dict[str, int] = {}
        self.sample_tokens: list[str] = []
        self._sample_prev: list[str] = []
        self._sample_next: list[str] = []
        timestamps: list[int] = []
        scenes: list[int] = []
        fields = ("token", "timestamp", "scene_token", "prev", "next")
        for token, timestamp, scene_token, prev, next_ in stream_table(
            self.folder, "sample", fields, defaults={"prev": "", "next": ""}
        ):
            if scene_token not in scene_index:
                raise dangling("sample", token, "scene_token", scene_token, "scene")
            if not isinstance(timestamp, int):
                raise DataError(
                    f"sample.json: token {token!r} has timestamp = {timestamp!r}; write whole microseconds."
                )
            self.sample_index[token] = len(self.sample_tokens)
            self.sample_tokens.append(token)
            self._sample_prev.append(prev)
            self._sample_next.append(next_)
            timestamps.append(timestamp)
            scenes.append(scene_index[scene_token])
        self.sample_timestamp_us = np.array(timestamps, dtype=np.int64)
        self.sample_scene = np.array(scenes, dtype=np.int64)
        self._samples_of_scene: dict[str, list[int]] = {name: [] for name in self.scene_names}
        for sample in np.argsort(self.sample_timestamp_us, kind="stable").tolist():
            self._samples_of_scene[self.scene_names[self.sample_scene[sample]]].append(sample)
