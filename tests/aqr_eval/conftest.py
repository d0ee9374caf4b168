from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX, Boxes
from aqr_eval.ground_truth import GroundTruth


@pytest.fixture(scope="session")
def golden_cases(shared_dir: Path) -> dict[str, dict[str, Any]]:
    """Inputs and the unmodified devkit's results, by name."""
    with gzip.open(shared_dir / "golden" / "golden_eval_dev.json.gz", "rt") as file:
        return {case["name"]: case for case in json.load(file)["cases"]}


@pytest.fixture(scope="session")
def write_results():
    """Writes a results JSON of {sample token: boxes without their token}; returns its path."""

    def write(path: Path, results: dict[str, list[dict[str, Any]]]) -> Path:
        whole = {token: [{"sample_token": token, **box} for box in boxes] for token, boxes in results.items()}
        path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": whole}))
        return path

    return write


@pytest.fixture(scope="session")
def make_boxes():
    """Builds `Boxes` from the golden file's columns; what is absent gets a neutral value."""

    def make(columns: dict[str, list]) -> Boxes:
        n = len(columns["sample"])
        default = {
            "detection_name": ["car"] * n,
            "size": [[2.0, 4.0, 1.5]] * n,
            "rotation": [[1.0, 0.0, 0.0, 0.0]] * n,
            "velocity": [[0.0, 0.0]] * n,
            "attribute_name": [""] * n,
            "detection_score": [-1.0] * n,
            "num_pts": [-1] * n,
        }
        columns = default | columns
        velocity = [[math.nan if v is None else v for v in vector or (None, None)] for vector in columns["velocity"]]
        return Boxes(
            sample=np.array(columns["sample"], dtype=np.int64),
            label=np.array([CLASS_INDEX[name] for name in columns["detection_name"]], dtype=np.int64),
            translation=np.array(columns["translation"], dtype=float).reshape(-1, 3),
            size_wlh=np.array(columns["size"], dtype=float).reshape(-1, 3),
            rotation_wxyz=np.array(columns["rotation"], dtype=float).reshape(-1, 4),
            velocity=np.array(velocity, dtype=float).reshape(-1, 2),
            score=np.array(columns["detection_score"], dtype=float),
            attribute=np.array([ATTRIBUTE_INDEX[name] for name in columns["attribute_name"]], dtype=np.int64),
            num_pts=np.array([-1 if n is None else n for n in columns["num_pts"]], dtype=np.int64),
        )

    return make


@pytest.fixture(scope="session")
def make_gt(make_boxes):
    """Builds `GroundTruth` with the vehicle at the origin unless told otherwise."""

    def make(tokens, columns, ego_translation=None, racks=(), **options) -> GroundTruth:
        rack_columns = {
            "sample": [sample for sample, _ in racks],
            "translation": [rack["translation"] for _, rack in racks],
            "size": [rack["size"] for _, rack in racks],
            "rotation": [rack["rotation"] for _, rack in racks],
        }
        return GroundTruth(
            tokens=tuple(tokens),
            ego_translation=np.zeros((len(tokens), 3)) if ego_translation is None else np.array(ego_translation),
            boxes=make_boxes(columns),
            bicycle_racks=make_boxes(rack_columns),
            **options,
        )

    return make


def _tiny_tables() -> dict[str, list[dict[str, Any]]]:
    """One scene of three keyframes 0.5 s apart: a car at 2 m/s, a pedestrian seen once, a bicycle in a rack.

    The vehicle drives along x at 1 m/s. LIDAR_TOP has one sweep between keyframes; one camera; a radar.
    """
    start = 1_600_000_000_000_000
    channels = {"LIDAR_TOP": "lidar", "CAM_FRONT": "camera", "RADAR_FRONT": "radar"}
    intrinsic = [[500.0, 0.0, 400.0], [0.0, 500.0, 225.0], [0.0, 0.0, 1.0]]
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [
            {"token": "c-car", "name": "vehicle.car", "description": ""},
            {"token": "c-ped", "name": "human.pedestrian.adult", "description": ""},
            {"token": "c-bike", "name": "vehicle.bicycle", "description": ""},
            {"token": "c-rack", "name": "static_object.bicycle_rack", "description": ""},
        ],
        "attribute": [{"token": "a-moving", "name": "vehicle.moving", "description": ""}],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "instance": [
            {"token": f"i-{kind}", "category_token": f"c-{kind}", "nbr_annotations": 1}
            for kind in ("car", "ped", "bike", "rack")
        ],
        "sensor": [{"token": f"s-{c}", "channel": c, "modality": m} for c, m in channels.items()],
        "calibrated_sensor": [
            {
                "token": f"k-{channel}",
                "sensor_token": f"s-{channel}",
                "translation": [1.0, 0.0, 1.8],
                "rotation": [math.sqrt(0.5), 0.0, 0.0, -math.sqrt(0.5)],
                "camera_intrinsic": intrinsic if modality == "camera" else [],
            }
            for channel, modality in channels.items()
        ],
        "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": "here"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "maps/none.png", "category": ""}],
        "scene": [{"token": "scene", "name": "scene-0103", "log_token": "log", "nbr_samples": 3}],
        "sample": [
            {
                "token": f"t{i}",
                "timestamp": start + i * 500_000,
                "scene_token": "scene",
                "prev": f"t{i - 1}" if i else "",
                "next": f"t{i + 1}" if i < 2 else "",
            }
            for i in range(3)
        ],
        "sample_data": [],
        "ego_pose": [],
        "sample_annotation": [],
    }
    for half in range(5):  # every 0.25 s, keyframes at even numbers
        for channel, modality in channels.items():
            if modality == "camera" and half % 2:
                continue
            token, time = f"{channel}-{half}", start + half * 250_000
            pose = {"token": f"p-{token}", "translation": [0.25 * half, 0.0, 0.0], "rotation": [1.0, 0.0, 0.0, 0.0]}
            tables["ego_pose"].append({**pose, "timestamp": time})
            tables["sample_data"].append(
                {
                    "token": token,
                    "sample_token": f"t{(half + 1) // 2}",
                    "ego_pose_token": f"p-{token}",
                    "calibrated_sensor_token": f"k-{channel}",
                    "timestamp": time,
                    "is_key_frame": half % 2 == 0,
                    "filename": f"{'sweeps' if half % 2 else 'samples'}/{channel}/{half}.bin",
                    "fileformat": "bin",
                    "width": 800 if modality == "camera" else 0,
                    "height": 450 if modality == "camera" else 0,
                    "prev": f"{channel}-{half - 1}" if half else "",
                    "next": f"{channel}-{half + 1}" if half < 4 else "",
                }
            )
    for i in range(3):
        tables["sample_annotation"].append(
            _tiny_annotation(f"car{i}", i, "car", [10.0 + i, 5.0, 1.0])
            | {
                "attribute_tokens": ["a-moving"],
                "prev": f"car{i - 1}" if i else "",
                "next": f"car{i + 1}" if i < 2 else "",
            }
        )
    tables["sample_annotation"] += [
        _tiny_annotation("ped", 0, "ped", [-5.0, 3.0, 1.0]),
        _tiny_annotation("bike", 1, "bike", [8.0, -4.0, 0.5]),
        _tiny_annotation("rack", 1, "rack", [8.0, -4.0, 0.5]),
    ]
    return tables


def _tiny_annotation(token: str, sample: int, kind: str, translation: list[float]) -> dict[str, Any]:
    return {
        "token": token,
        "sample_token": f"t{sample}",
        "instance_token": f"i-{kind}",
        "visibility_token": "4",
        "attribute_tokens": [],
        "translation": translation,
        "size": [2.0, 4.0, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "prev": "",
        "next": "",
        "num_lidar_pts": 7,
        "num_radar_pts": 1,
    }


@pytest.fixture
def tiny_tables() -> dict[str, list[dict[str, Any]]]:
    """A hand-written dataset as table name -> rows, free to be changed."""
    return _tiny_tables()


@pytest.fixture(scope="session")
def write_tables():
    """Writes tables below a dataroot; returns the dataroot."""

    def write(dataroot: Path, tables: dict[str, list[dict[str, Any]]], version: str = "v1.0-mini") -> Path:
        folder = dataroot / version
        folder.mkdir(parents=True)
        for name, rows in tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, indent=1))
        (dataroot / "maps").mkdir()
        (dataroot / "maps" / "none.png").touch()
        return dataroot

    return write


@pytest.fixture
def tiny_dataroot(tmp_path: Path, tiny_tables, write_tables) -> Path:
    return write_tables(tmp_path / "tiny", tiny_tables)


@pytest.fixture(scope="session")
def real_dataroot(shared_dir: Path, tmp_path_factory) -> Path:
    """The real tables of scene-0523 and scene-0916, completed from the mini release; custom splits `both` and `one`."""
    dataroot = tmp_path_factory.mktemp("real")
    folder = dataroot / "v1.0-mini"
    folder.mkdir()
    for table in (shared_dir / "data/nuscenes_scene0523/v1.0-mini-extract").glob("*.json"):
        (folder / table.name).symlink_to(table)
    for name in ("attribute", "visibility", "log", "map"):
        (folder / f"{name}.json").symlink_to(shared_dir / f"data/vis4d/nuscenes_test/v1.0-mini/{name}.json")
    for row in json.loads((folder / "map.json").read_text()):
        (dataroot / row["filename"]).parent.mkdir(exist_ok=True)
        (dataroot / row["filename"]).touch()
    (folder / "splits.json").write_text(json.dumps({"both": ["scene-0523", "scene-0916"], "one": ["scene-0916"]}))
    return dataroot
