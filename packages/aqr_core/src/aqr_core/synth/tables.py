"""The rows of the 13 nuScenes tables, for one scene and for the whole dataset.

Tokens are 32 hexadecimal digits derived from what a row stands for, so they depend on the arguments
alone and scenes can be written in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from aqr_core.synth.rig import CAMERAS, CHANNELS, LIDAR_MOUNT
from aqr_core.synth.world import Thing
from aqr_eval.nuscenes.classes import (
    ATTRIBUTES,
    BICYCLE_RACK,
    CATEGORY_TO_CLASS,
    DETECTION_CLASSES,
    LIDAR,
    default_attribute,
)
from aqr_eval.nuscenes.geometry import yaw_to_quaternion

Row = dict[str, object]
Rows = dict[str, list[Row]]

MAP_FILENAME = "maps/synthetic.png"
SCENE_TABLES = ("instance", "ego_pose", "log", "scene", "sample", "sample_data", "sample_annotation")
_VISIBILITY = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
_VISIBILITY_EDGES = (0.4, 0.6, 0.8)


def token(*parts: object) -> str:
    """A name for the row that `parts` identify."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def visibility_token(visible: float, silhouette: float) -> str:
    """The visibility level of an object of which `visible` out of `silhouette` pixels are seen over all cameras."""
    fraction = visible / silhouette if silhouette else 0.0
    return str(1 + sum(fraction >= edge for edge in _VISIBILITY_EDGES))


def attribute_name(thing: Thing) -> str:
    """The attribute of an object by its motion; empty for what has none."""
    return default_attribute(thing.kind.name, thing.speed_mps) if thing.kind.name in DETECTION_CLASSES else ""


def dataset_tables(log_tokens: Sequence[str], image_size: tuple[int, int]) -> Rows:
    """The tables that all scenes share."""
    categories = [*CATEGORY_TO_CLASS, BICYCLE_RACK]
    return {
        "category": [{"token": token("category", name), "name": name, "description": ""} for name in categories],
        "attribute": [{"token": token("attribute", name), "name": name, "description": ""} for name in ATTRIBUTES],
        "visibility": [
            {"token": key, "level": level, "description": f"{level[1:]} % of the object is visible over all cameras"}
            for key, level in _VISIBILITY.items()
        ],
        "sensor": [
            {
                "token": token("sensor", channel),
                "channel": channel,
                "modality": "lidar" if channel == LIDAR else "camera",
            }
            for channel in CHANNELS
        ],
        "calibrated_sensor": [_calibration(channel, image_size[0]) for channel in CHANNELS],
        "map": [
            {
                "token": token("map"),
                "log_tokens": list(log_tokens),
                "category": "semantic_prior",
                "filename": MAP_FILENAME,
            }
        ],
    }


def _calibration(channel: str, width_px: int) -> Row:
    if channel == LIDAR:
        position, rotation, intrinsic = LIDAR_MOUNT.position_m, yaw_to_quaternion(LIDAR_MOUNT.yaw_rad), []
    else:
        camera = CAMERAS[channel]
        position, rotation = camera.mount.position_m, camera.rotation_wxyz
        intrinsic = camera.intrinsic(width_px).tolist()
    return {
        "token": token("calibrated_sensor", channel),
        "sensor_token": token("sensor", channel),
        "translation": list(position),
        "rotation": rotation.tolist(),
        "camera_intrinsic": intrinsic,
    }


@dataclass
class SceneTables:
    """Collects the rows of one scene in the order of time; `rows` links and returns them.

    Args:
        name: scene name.
        things: the scene's objects.
    """

    name: str
    things: Sequence[Thing]
    _samples: list[Row] = field(default_factory=list)
    _data: dict[str, list[Row]] = field(default_factory=lambda: {channel: [] for channel in CHANNELS})
    _poses: list[Row] = field(default_factory=list)
    _annotations: dict[int, list[Row]] = field(default_factory=dict)

    def sample_token(self, keyframe: int) -> str:
        """The token of the scene's n-th keyframe."""
        return token(self.name, "sample", keyframe)

    def add_sample(self, keyframe: int, timestamp_us: int) -> None:
        """A keyframe at the time of its LiDAR scan."""
        self._samples.append(
            {
                "token": self.sample_token(keyframe),
                "timestamp": timestamp_us,
                "scene_token": token(self.name, "scene"),
            }
        )

    def add_sample_data(
        self,
        channel: str,
        keyframe: int,
        *,
        timestamp_us: int,
        filename: str,
        is_key_frame: bool,
        position: np.ndarray,
        yaw: float,
        image_size: tuple[int, int] = (0, 0),
    ) -> None:
        """A sensor's file and the pose of the vehicle (position (3,), yaw) at its time."""
        row_token = token(self.name, channel, timestamp_us)
        self._poses.append(
            {
                "token": row_token,
                "timestamp": timestamp_us,
                "rotation": yaw_to_quaternion(yaw).tolist(),
                "translation": position.tolist(),
            }
        )
        self._data[channel].append(
            {
                "token": row_token,
                "sample_token": self.sample_token(keyframe),
                "ego_pose_token": row_token,
                "calibrated_sensor_token": token("calibrated_sensor", channel),
                "timestamp": timestamp_us,
                "fileformat": "pcd" if channel == LIDAR else "jpg",
                "is_key_frame": is_key_frame,
                "width": image_size[0],
                "height": image_size[1],
                "filename": filename,
            }
        )

    def add_annotation(self, index: int, keyframe: int, box: np.ndarray, num_lidar_pts: int, visibility: str) -> None:
        """The box (9,) of object `index` in the world frame, at a keyframe."""
        thing = self.things[index]
        attribute = attribute_name(thing)
        self._annotations.setdefault(index, []).append(
            {
                "token": token(self.name, "annotation", index, keyframe),
                "sample_token": self.sample_token(keyframe),
                "instance_token": token(self.name, "instance", index),
                "visibility_token": visibility,
                "attribute_tokens": [token("attribute", attribute)] if attribute else [],
                "translation": box[:3].tolist(),
                "size": box[[4, 3, 5]].tolist(),
                "rotation": yaw_to_quaternion(box[6]).tolist(),
                "num_lidar_pts": num_lidar_pts,
                "num_radar_pts": 0,
            }
        )

    def rows(self) -> Rows:
        """The scene's part of each table."""
        for chain in (self._samples, *self._data.values(), *self._annotations.values()):
            _link(chain)
        return {
            "instance": [self._instance(index, chain) for index, chain in sorted(self._annotations.items())],
            "ego_pose": self._poses,
            "log": [
                {
                    "token": token(self.name, "log"),
                    "logfile": f"synthetic-{self.name}",
                    "vehicle": "synthetic",
                    "date_captured": "2018-08-01",
                    "location": "synthetic",
                }
            ],
            "scene": [
                {
                    "token": token(self.name, "scene"),
                    "log_token": token(self.name, "log"),
                    "nbr_samples": len(self._samples),
                    "first_sample_token": self._samples[0]["token"],
                    "last_sample_token": self._samples[-1]["token"],
                    "name": self.name,
                    "description": "Synthetic scene",
                }
            ],
            "sample": self._samples,
            "sample_data": [row for chain in self._data.values() for row in chain],
            "sample_annotation": [row for _, chain in sorted(self._annotations.items()) for row in chain],
        }

    def _instance(self, index: int, chain: Sequence[Row]) -> Row:
        return {
            "token": token(self.name, "instance", index),
            "category_token": token("category", self.things[index].category),
            "nbr_annotations": len(chain),
            "first_annotation_token": chain[0]["token"],
            "last_annotation_token": chain[-1]["token"],
        }


def _link(chain: Iterable[Row]) -> None:
    """Write `prev` and `next` along a chain in time order; the ends hold the empty string."""
    previous: Row | None = None
    for row in chain:
        row["prev"], row["next"] = "", ""
        if previous is not None:
            row["prev"], previous["next"] = previous["token"], row["token"]
        previous = row
