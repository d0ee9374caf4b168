"""A dataset small enough to work out by hand: one scene, two samples, two cameras, three objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report import build_report

FRONT, BACK = (0.5, -0.5, 0.5, -0.5), (0.5, -0.5, -0.5, 0.5)  # camera axes x right, y down, z along the view
INTRINSIC = [[100.0, 0, 80], [0, 100, 45], [0, 0, 1]]
OBJECTS = {
    # name: (category, centre in both samples, (w, l, h), attribute)
    "car": ("vehicle.car", ((20, 0, 1), (25, 0, 1)), (2, 4, 2), "vehicle.moving"),
    "cone": ("movable_object.trafficcone", ((-10, 3, 0.5), (-10, 3, 0.5)), (0.5, 0.5, 1), None),
    "far": ("vehicle.car", ((90, 0, 1), (90, 0, 1)), (2, 4, 2), "vehicle.parked"),
}


@pytest.fixture
def dataroot(tmp_path: Path) -> Path:
    """Tables v1.0-mini, images of 160 x 90, point files; splits `all` (scene-a) and `other` (scene-b)."""
    root = tmp_path / "data"
    (root / "v1.0-mini").mkdir(parents=True)
    for channel in ("LIDAR_TOP", "CAM_FRONT", "CAM_BACK"):
        (root / "samples" / channel).mkdir(parents=True)
    for name, rows in _tables().items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))
    (root / "v1.0-mini" / "splits.json").write_text(json.dumps({"all": ["scene-a"], "other": ["scene-b"]}))
    points = np.array([[0, 5, -1.8, 10, 0], [1, 5, 0.5, 10, 1], [np.nan, 0, 0, 0, 0]], dtype="<f4")
    for sample in range(3):
        points.tofile(root / "samples" / "LIDAR_TOP" / f"{sample}.bin")
        for channel in ("CAM_FRONT", "CAM_BACK"):
            Image.new("RGB", (160, 90), (90, 120, 150)).save(root / "samples" / channel / f"{sample}.jpg")
    return root


@pytest.fixture
def submissions(tmp_path: Path) -> dict[str, Path]:
    """`good`: the truth, the cone by 0.7 m off; `empty`: nothing at all."""
    results = {f"s{sample}": [_detection(name, sample) for name in ("car", "cone")] for sample in range(2)}
    meta = {"use_camera": True, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}
    paths = {"good": tmp_path / "good.json", "empty": tmp_path / "empty.json"}
    paths["good"].write_text(json.dumps({"meta": meta, "results": results}))
    paths["empty"].write_text(json.dumps({"meta": meta, "results": {token: [] for token in results}}))
    return paths


@pytest.fixture
def build(dataroot: Path, submissions: dict[str, Path], tmp_path: Path) -> Callable[..., str]:
    """Writes a report on `good` and `empty` over split `all`, with changes to the arguments, and returns the page."""

    def run(split: str = "all", submissions: dict[str, Path] = submissions, **changes: Any) -> str:
        truth = load_ground_truth(dataroot, "v1.0-mini", split, cameras=True)
        arguments = {"out": tmp_path / "report.html", "tables": NuScenesTables(dataroot, "v1.0-mini"), "draws": 20}
        return build_report(truth, submissions, **arguments | changes)[0].read_text(encoding="utf-8")

    return run


@pytest.fixture
def scalars(tmp_path: Path) -> Path:
    """A training log of 80 steps."""
    log = tmp_path / "scalars.jsonl"
    lines = (f'{{"step": {step}, "train/loss": {5 - step / 100}, "val/mAP": 0.25}}\n' for step in range(10, 90))
    log.write_text("".join(lines))
    return log


@pytest.fixture
def faulty(submissions: dict[str, Path]) -> Path:
    """`good`, but the car of s1 stands 5 m too far to the left: a missed box and a false positive of score 0.875."""
    content = json.loads(submissions["good"].read_text())
    content["results"]["s1"][0]["translation"][1] += 5
    path = submissions["good"].with_name("faulty.json")
    path.write_text(json.dumps(content))
    return path


def _detection(name: str, sample: int) -> dict:
    _, centres, size, attribute = OBJECTS[name]
    x, y, z = centres[sample]
    return {
        "sample_token": f"s{sample}",
        "translation": [x, y + (0.7 if name == "cone" else 0), z],
        "size": list(size),
        "rotation": [1, 0, 0, 0],
        "velocity": [10, 0] if name == "car" else [0, 0],
        "detection_name": {"car": "car", "cone": "traffic_cone"}[name],
        "detection_score": 0.875 if name == "car" else 0.625,
        "attribute_name": attribute or "",
    }


def _tables() -> dict[str, list[dict]]:
    """Samples s0 and s1 of scene-a half a second apart, s2 alone in scene-b; the vehicle stands at the origin."""
    sensors = {
        "LIDAR_TOP": ((1, 0, 0, 0), [0, 0, 1.8]),
        "CAM_FRONT": (FRONT, [1, 0, 1]),
        "CAM_BACK": (BACK, [-1, 0, 1]),
    }
    samples = [("s0", "a", 0), ("s1", "a", 500_000), ("s2", "b", 0)]
    chain = {"s0": ("", "s1"), "s1": ("s0", ""), "s2": ("", "")}
    data, annotations = [], []
    for i, (token, _, time) in enumerate(samples):
        for channel in sensors:
            camera = channel != "LIDAR_TOP"
            data.append(
                {
                    "token": f"{channel}-{i}",
                    "sample_token": token,
                    "ego_pose_token": f"e{i}",
                    "calibrated_sensor_token": channel,
                    "timestamp": time,
                    "fileformat": "jpg" if camera else "pcd",
                    "is_key_frame": True,
                    "height": 90 if camera else 0,
                    "width": 160 if camera else 0,
                    "filename": f"samples/{channel}/{i}.{'jpg' if camera else 'bin'}",
                    "prev": "",
                    "next": "",
                }
            )
        for name, (_, centres, size, attribute) in OBJECTS.items() if i < 2 else ():
            annotations.append(
                {
                    "token": f"{name}-{i}",
                    "sample_token": token,
                    "instance_token": name,
                    "attribute_tokens": [attribute] if attribute else [],
                    "visibility_token": "4",
                    "translation": list(centres[i]),
                    "size": list(size),
                    "rotation": [1, 0, 0, 0],
                    "num_lidar_pts": 5,
                    "num_radar_pts": 0,
                    "prev": f"{name}-0" if i else "",
                    "next": "" if i else f"{name}-1",
                }
            )
    return {
        "category": [{"token": c, "name": c, "description": ""} for c in {o[0] for o in OBJECTS.values()}],
        "attribute": [{"token": a, "name": a, "description": ""} for a in ("vehicle.moving", "vehicle.parked")],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "instance": [
            {
                "token": name,
                "category_token": category,
                "nbr_annotations": 2,
                "first_annotation_token": f"{name}-0",
                "last_annotation_token": f"{name}-1",
            }
            for name, (category, *_) in OBJECTS.items()
        ],
        "sensor": [{"token": c, "channel": c, "modality": "lidar" if c == "LIDAR_TOP" else "camera"} for c in sensors],
        "calibrated_sensor": [
            {
                "token": channel,
                "sensor_token": channel,
                "translation": translation,
                "rotation": list(rotation),
                "camera_intrinsic": [] if channel == "LIDAR_TOP" else INTRINSIC,
            }
            for channel, (rotation, translation) in sensors.items()
        ],
        "ego_pose": [
            {"token": f"e{i}", "timestamp": time, "translation": [0, 0, 0], "rotation": [1, 0, 0, 0]}
            for i, (_, _, time) in enumerate(samples)
        ],
        "log": [{"token": "l", "logfile": "", "vehicle": "", "date_captured": "", "location": ""}],
        "scene": [
            {
                "token": token,
                "log_token": "l",
                "nbr_samples": count,
                "first_sample_token": first,
                "last_sample_token": last,
                "name": f"scene-{token}",
                "description": "",
            }
            for token, count, first, last in (("a", 2, "s0", "s1"), ("b", 1, "s2", "s2"))
        ],
        "sample": [
            {"token": token, "timestamp": time, "scene_token": s, "prev": chain[token][0], "next": chain[token][1]}
            for token, s, time in samples
        ],
        "sample_data": data,
        "sample_annotation": annotations,
        "map": [{"token": "m", "log_tokens": ["l"], "filename": "maps/m.png", "category": "semantic_prior"}],
    }
