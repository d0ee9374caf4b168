"""Records one scene: drives the sensors through it, writes their files and returns its table rows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from aqr_core.structures.boxes3d import YAW, points_in_boxes
from aqr_core.synth.camera import CameraRenderer
from aqr_core.synth.lidar import Lidar
from aqr_core.synth.presets import Preset
from aqr_core.synth.rig import (
    CAMERAS,
    KEYFRAME_PERIOD_US,
    LIDAR_MOUNT,
    LIDAR_PERIOD_US,
    SWEEPS_PER_KEYFRAME,
)
from aqr_core.synth.sampling import sample_world
from aqr_core.synth.tables import Rows, SceneTables, visibility_token
from aqr_core.synth.world import World
from aqr_eval.nuscenes.classes import LIDAR

_FIRST_SCENE_US = 1_533_000_000_000_000
_SCENE_SPACING_US = 100_000_000
_ANNOTATED_WITHIN_M = 80.0


def record_scene(root: Path, index: int, name: str, preset: Preset, seed: np.random.SeedSequence) -> Rows:
    """Sample and record one scene.

    Args:
        root: dataset folder; files go to `samples/` and `sweeps/` in it.
        index: number of the scene, which sets its start time.
        name: scene name.
        preset: sizes.
        seed: everything random in the scene derives from it.
    """
    cv2.setNumThreads(1)  # scenes run side by side
    rng = np.random.default_rng(seed)
    recorder = _Recorder(
        root, name, _FIRST_SCENE_US + index * _SCENE_SPACING_US, sample_world(preset, rng), preset, rng
    )
    return recorder.record()


@lru_cache(maxsize=1)
def _sensors(preset: Preset) -> tuple[Lidar, dict[str, CameraRenderer]]:
    """The sensors of a preset, kept from scene to scene in a worker."""
    cameras = {
        channel: CameraRenderer(camera, preset.image_size, preset.render_scale) for channel, camera in CAMERAS.items()
    }
    return Lidar(preset.azimuths, preset.lidar_range_m), cameras


class _Recorder:
    """One pass through one scene."""

    def __init__(
        self, root: Path, name: str, start_us: int, world: World, preset: Preset, rng: np.random.Generator
    ) -> None:
        self._root, self._name, self._start_us = root, name, start_us
        self._world, self._preset, self._rng = world, preset, rng
        self._lidar, self._cameras = _sensors(preset)
        self._tables = SceneTables(name, world.things)

    def record(self) -> Rows:
        """Record all keyframes and the scans between them, in the order of time."""
        for keyframe in range(self._preset.keyframes):
            timestamp_us = self._start_us + keyframe * KEYFRAME_PERIOD_US
            if keyframe > 0:
                for sweep in range(1 - SWEEPS_PER_KEYFRAME, 0):  # the scans since the last keyframe
                    self._scan(keyframe, timestamp_us + sweep * LIDAR_PERIOD_US, is_key_frame=False)
            self._tables.add_sample(keyframe, timestamp_us)
            points = self._scan(keyframe, timestamp_us, is_key_frame=True)
            pixels = [
                self._photograph(channel, keyframe, timestamp_us + camera.delay_us)
                for channel, camera in CAMERAS.items()
            ]
            self._annotate(keyframe, timestamp_us, points, np.sum(pixels, axis=0))
        return self._tables.rows()

    def _seconds(self, timestamp_us: int) -> float:
        return (timestamp_us - self._start_us) / 1e6

    def _scan(self, keyframe: int, timestamp_us: int, *, is_key_frame: bool) -> np.ndarray:
        """Write a LiDAR file and return its (P, 5) points."""
        points = self._lidar.scan(self._world, self._seconds(timestamp_us), self._rng)
        filename = self._add_data(LIDAR, keyframe, timestamp_us, ".pcd.bin", is_key_frame=is_key_frame)
        points.astype("<f4").tofile(self._root / filename)
        return points

    def _photograph(self, channel: str, keyframe: int, timestamp_us: int) -> np.ndarray:
        """Write an image and return (2, n): rays that meet each object, and rays that would if it stood alone."""
        image, visible, silhouette = self._cameras[channel].render(self._world, self._seconds(timestamp_us), self._rng)
        filename = self._add_data(channel, keyframe, timestamp_us, ".jpg", size=self._preset.image_size)
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._preset.jpeg_quality])
        (self._root / filename).write_bytes(encoded.tobytes())
        return np.stack([visible, silhouette])

    def _add_data(
        self,
        channel: str,
        keyframe: int,
        timestamp_us: int,
        suffix: str,
        *,
        is_key_frame: bool = True,
        size: tuple[int, int] = (0, 0),
    ) -> str:
        """Enter a sensor's file into the tables and return its name relative to the dataset."""
        folder = "samples" if is_key_frame else "sweeps"
        filename = f"{folder}/{channel}/{self._name}__{channel}__{timestamp_us}{suffix}"
        t = self._seconds(timestamp_us)
        self._tables.add_sample_data(
            channel,
            keyframe,
            timestamp_us=timestamp_us,
            filename=filename,
            is_key_frame=is_key_frame,
            position=self._world.ego.position(t),
            yaw=self._world.ego.yaw(t),
            image_size=size,
        )
        return filename

    def _annotate(self, keyframe: int, timestamp_us: int, points: np.ndarray, pixels: np.ndarray) -> None:
        """Enter the boxes at a keyframe; points (P, 5) in the LiDAR frame, pixels (2, n) summed over the cameras."""
        t = self._seconds(timestamp_us)
        boxes = self._world.boxes(t)
        in_lidar = self._to_lidar(boxes, t)
        counts = points_in_boxes(points.astype(np.float64), in_lidar).sum(axis=0)
        near = np.hypot(in_lidar[:, 0], in_lidar[:, 1]) <= _ANNOTATED_WITHIN_M
        for index, thing in enumerate(self._world.things):
            if thing.kind.annotated and near[index]:
                visibility = visibility_token(*pixels[:, index])
                self._tables.add_annotation(index, keyframe, boxes[index], int(counts[index]), visibility)

    def _to_lidar(self, boxes: np.ndarray, t: float) -> np.ndarray:
        """Position and yaw of (n, 9) world boxes in the LiDAR frame; velocity is left alone."""
        ego = self._world.ego
        yaw = ego.yaw(t) + LIDAR_MOUNT.yaw_rad
        cos, sin = np.cos(yaw), np.sin(yaw)
        delta = boxes[:, :3] - ego.mounted(LIDAR_MOUNT.position_m, t)
        moved = boxes.copy()
        moved[:, 0] = cos * delta[:, 0] + sin * delta[:, 1]
        moved[:, 1] = -sin * delta[:, 0] + cos * delta[:, 1]
        moved[:, 2] = delta[:, 2]
        moved[:, YAW] -= yaw
        return moved
