"""A nuScenes dataset so small that its geometry is done in the head.

The vehicle drives along global +x at 10 m/s and is at (100, 200, 0) at time 0. The LiDAR sits at (1, 0, 2) on it,
turned as in nuScenes (its x axis is the vehicle's right, its y axis the front); all cameras sit at (2, 0, 1.5) and look
ahead, 20 ms before the keyframe. A car is at (110, 205, 1) at time 0 and drives along +x at 5 m/s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from aqr_eval.nuscenes.classes import CAMERAS

LIDAR_TURN = [np.sqrt(0.5), 0.0, 0.0, -np.sqrt(0.5)]  # -90 degrees about z
CAMERA_TURN = [0.5, -0.5, 0.5, -0.5]  # z ahead, x right, y down
CAM2IMG = [[40.0, 0.0, 32.0], [0.0, 40.0, 16.0], [0.0, 0.0, 1.0]]
WIDTH, HEIGHT = 64, 32
KEYFRAME_US = (0, 500_000)
SWEEP_US = (100_000, 200_000, 300_000, 400_000)


@dataclass(frozen=True)
class TinyRoot:
    """Where the dataset is, and its tables, which `write` puts to disk again after a change."""

    path: Path
    tables: dict[str, list[dict]]
    version: str = "v1.0-mini"

    def write(self) -> None:
        folder = self.path / self.version
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows))


def _pose(time_us: int) -> dict:
    return {
        "translation": [100 + 10 * time_us / 1e6, 200.0, 0.0],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "timestamp": time_us,
    }


def _annotation(token: str, instance: str, sample: int, translation: list[float], **fields) -> dict:
    return {
        "token": token,
        "sample_token": f"sample{sample}",
        "instance_token": instance,
        "translation": translation,
        "size": [2.0, 4.0, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "attribute_tokens": [],
        "visibility_token": "4",
        "num_lidar_pts": 7,
        "num_radar_pts": 0,
        "prev": "",
        "next": "",
        **fields,
    }


def _tables() -> dict[str, list[dict]]:
    channels = ("LIDAR_TOP", *CAMERAS)
    tables: dict[str, list[dict]] = {
        "category": [
            {"token": "c0", "name": "vehicle.car", "description": ""},
            {"token": "c1", "name": "movable_object.barrier", "description": ""},
            {"token": "c2", "name": "animal", "description": ""},
        ],
        "attribute": [{"token": "a0", "name": "vehicle.moving", "description": ""}],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "instance": [{"token": f"i{i}", "category_token": f"c{i}", "nbr_annotations": 1} for i in range(3)],
        "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": ""}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "", "category": ""}],
        "scene": [{"token": "scene", "name": "scene-0103", "log_token": "log", "nbr_samples": 2}],
        "sensor": [
            {"token": name, "channel": name, "modality": "camera" if "CAM" in name else "lidar"} for name in channels
        ],
        "calibrated_sensor": [
            {
                "token": name,
                "sensor_token": name,
                "translation": [2.0, 0.0, 1.5] if "CAM" in name else [1.0, 0.0, 2.0],
                "rotation": CAMERA_TURN if "CAM" in name else LIDAR_TURN,
                "camera_intrinsic": CAM2IMG if "CAM" in name else [],
            }
            for name in channels
        ],
        "sample": [
            {"token": "sample0", "timestamp": KEYFRAME_US[0], "scene_token": "scene", "prev": "", "next": "sample1"},
            {"token": "sample1", "timestamp": KEYFRAME_US[1], "scene_token": "scene", "prev": "sample0", "next": ""},
        ],
        "sample_data": [],
        "ego_pose": [],
        "sample_annotation": [
            _annotation("n0", "i0", 0, [110.0, 205.0, 1.0], next="n1", attribute_tokens=["a0"]),
            _annotation("n1", "i0", 1, [112.5, 205.0, 1.0], prev="n0", attribute_tokens=["a0"]),
            _annotation("n2", "i1", 0, [120.0, 200.0, 0.5], num_lidar_pts=0),  # seen once: no velocity
            _annotation("n3", "i2", 0, [105.0, 200.0, 0.5]),  # no detection class
        ],
    }

    def add(token: str, channel: str, sample: int, time_us: int, is_key: bool, filename: str) -> None:
        tables["ego_pose"].append({"token": token, **_pose(time_us)})
        tables["sample_data"].append(
            {
                "token": token,
                "sample_token": f"sample{sample}",
                "ego_pose_token": token,
                "calibrated_sensor_token": channel,
                "timestamp": time_us,
                "fileformat": "jpg" if "CAM" in channel else "pcd",
                "is_key_frame": is_key,
                "width": WIDTH if "CAM" in channel else 0,
                "height": HEIGHT if "CAM" in channel else 0,
                "filename": filename,
                "prev": "",
                "next": "",
            }
        )

    for i, time_us in enumerate(KEYFRAME_US):
        add(f"lidar{i}", "LIDAR_TOP", i, time_us, True, f"samples/LIDAR_TOP/{i}.pcd.bin")
        for channel in CAMERAS:
            add(f"{channel}{i}", channel, i, time_us - 20_000, True, f"samples/{channel}/{i}.jpg")
    for time_us in SWEEP_US:
        add(f"sweep{time_us}", "LIDAR_TOP", 1, time_us, False, f"sweeps/LIDAR_TOP/{time_us}.pcd.bin")
    return tables


@pytest.fixture
def tiny_root(tmp_path: Path) -> TinyRoot:
    """The dataset in a folder of its own. Every LiDAR file holds 20 points of one static global grid."""
    root = TinyRoot(tmp_path / "nuscenes", _tables())
    root.write()
    for row in root.tables["sample_data"]:
        path = root.path / row["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jpg":
            row_shade = np.linspace(0, 255, WIDTH, dtype=np.uint8)
            image = np.broadcast_to(row_shade[None, :, None], (HEIGHT, WIDTH, 3))
            cv2.imwrite(str(path), np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, 100])
        else:
            static_points(row["timestamp"]).tofile(path)
    return root


def static_points(time_us: int) -> np.ndarray:
    """(20, 5) the corners of a fence that stands still, in the LiDAR frame of that time."""
    ahead, left = np.meshgrid(np.arange(5.0, 25.0, 4.0), np.arange(-6.0, 10.0, 4.0))
    lidar_x = 101 + 10 * time_us / 1e6
    points = np.zeros((20, 5), np.float32)
    points[:, 0] = -left.ravel()
    points[:, 1] = 101 + ahead.ravel() - lidar_x
    points[:, 2] = -1.0
    points[:, 3] = np.arange(20)
    points[:, 4] = 31  # ring
    return points


@pytest.fixture(scope="session")
def scene0523_root(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real keyframes of scene-0523 (split val) as a dataroot; tables that the extract lacks are borrowed."""
    root = tmp_path_factory.mktemp("scene0523")
    source = shared_dir / "data/nuscenes_scene0523"
    tables = root / "v1.0-trainval"
    tables.mkdir()
    for table in (source / "v1.0-mini-extract").glob("*.json"):
        (tables / table.name).symlink_to(table)
    for name in ("attribute", "visibility", "log", "map"):
        (tables / f"{name}.json").symlink_to(shared_dir / f"data/vis4d/nuscenes_test/v1.0-mini/{name}.json")
    (root / "samples").symlink_to(source / "samples")
    return root
