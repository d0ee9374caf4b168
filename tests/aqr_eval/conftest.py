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
