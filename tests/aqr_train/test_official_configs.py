"""Upstream's four models and the metric one: official names, sizes, geometry, schedules; and what tells them apart."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_core.models.head.position import bev_cell_centers

R50, METRIC = "cmt_voxel0100_r50_800x320_cbgs", "cmt_voxel0100_r50_800x320_cbgs_metric"
VOV, LIDAR, CAMERA = "cmt_voxel0075_vov_1600x640_cbgs", "cmt_lidar_voxel0075_cbgs", "cmt_camera_vov_1600x640_cbgs"
ALL = (R50, METRIC, VOV, LIDAR, CAMERA)
CONVOLUTIONS_OF_TASK_HEADS = (".0.weight", ".3.weight")


def flatten(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every leaf."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{path}.{key}".strip("."))
    elif isinstance(node, list | tuple):
        for key, value in enumerate(node):
            yield from flatten(value, f"{path}.{key}")
    else:
        yield path, node


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    """Paths whose values differ, numbers in them dropped."""
    first, second = dict(flatten(a)), dict(flatten(b))
    paths = {path for path in {*first, *second} if first.get(path) != second.get(path)}
    return {".".join(part for part in path.split(".") if not part.isdigit()) for path in paths}


def read_listing(path: Path) -> dict[str, tuple[int, ...]]:
    with open(path) as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {r["key"]: () if r["shape"] == "scalar" else tuple(map(int, r["shape"].split(","))) for r in rows}


def official_state(name: str, reference: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of an official checkpoint: the R50 listing with what the other models replace or lack."""
    state = read_listing(reference / "cmt_r50_state_dict.tsv")
    if name in (VOV, CAMERA):
        state = {key: shape for key, shape in state.items() if not key.startswith("img_backbone.")}
        state |= read_listing(reference / "vovnet99_state_dict.tsv")
        for level, channels in enumerate((768, 1024)):
            state[f"img_neck.lateral_convs.{level}.conv.weight"] = (256, channels, 1, 1)
    if name == LIDAR:
        absent: tuple[str, ...] = ("img_", "pts_bbox_head.rv_embedding.")
        state = {
            key: (*shape[:2], 3) if "task_heads" in key and key.endswith(CONVOLUTIONS_OF_TASK_HEADS) else shape
            for key, shape in state.items()
        }
    elif name == CAMERA:
        absent = ("pts_middle_encoder.", "pts_backbone.", "pts_neck.", "pts_bbox_head.shared_conv.")
    else:
        absent = ()
    return {key: shape for key, shape in state.items() if not key.startswith(absent)}


@pytest.mark.parametrize(
    ("name", "entries", "parameters"),
    [
        (R50, 689, 40_919_572),
        (METRIC, 689, 40_919_572),
        (VOV, 997, 86_607_380),
        (LIDAR, 361, 16_769_492),
        (CAMERA, 781, 78_156_100),
    ],
)
def test_state_dict_is_the_official_one(name: str, entries: int, parameters: int, shared_dir: Path) -> None:
    model = build_detector(load_config(name).model)
    state = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert state == official_state(name, shared_dir / "reference")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert (len(state), sum(p.numel() for p in trainable)) == (entries, parameters)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert parameters == sum(math.prod(shape) for key, shape in state.items() if not key.endswith(statistics))


@pytest.mark.parametrize("name", ALL)
def test_one_range_in_data_and_model(name: str) -> None:
    config = load_config(name)
    expected = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0] if name == METRIC else [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0]
    steps = [*config.data.train.pipeline, *config.data.val.pipeline]
    ranges = [step["point_cloud_range"] for step in steps if "point_cloud_range" in step]
    assert len(ranges) == (1 if name == CAMERA else 2)  # points and objects
    coder = config.model.pts_bbox_head.bbox_coder
    if name != CAMERA:
        ranges.append(config.model.pts_voxel_layer.point_cloud_range)
        assert config.model.pts_voxel_layer.voxel_size == coder.voxel_size
    assert all(limits == expected for limits in [*ranges, coder.pc_range])
    assert [abs(a - b) for a, b in zip(coder.post_center_range, expected, strict=True)] == pytest.approx(
        [7.2, 7.2, 5, 7.2, 7.2, 7]
    )


@pytest.mark.parametrize(
    ("name", "cells", "coded_m"),
    # Only upstream's 0.1 m model believes its cells of 0.8 m to measure 108 / 128 m.
    [(R50, 128, 108 / 128), (METRIC, 128, 0.8), (VOV, 180, 0.6), (LIDAR, 180, 0.6)],
)
def test_cells_and_what_their_codes_say(name: str, cells: int, coded_m: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_detector(load_config(name).model)
    assert tuple(model.pts_middle_encoder.sparse_shape) == (41, 8 * cells, 8 * cells)
    asked = []

    def record(shape: tuple[int, int], fraction: tuple[float, float], *rest: Any) -> Any:
        asked.append(fraction)
        return bev_cell_centers(shape, fraction, *rest)

    monkeypatch.setattr("aqr_core.models.head.position_coding.bev_cell_centers", record)
    model.pts_bbox_head.bev_position((cells, cells))
    extent = model.pts_bbox_head.pc_range[3] - model.pts_bbox_head.pc_range[0]
    assert asked[0] == pytest.approx((coded_m / extent, coded_m / extent), rel=1e-9)


def test_metric_differs_from_upstreams_geometry_in_the_range_alone() -> None:
    assert changes(load_config(R50).to_dict(), load_config(METRIC).to_dict()) == {
        "data.train.pipeline.point_cloud_range",
        "model.pts_voxel_layer.point_cloud_range",
        "model.pts_bbox_head.bbox_coder.pc_range",
        "model.pts_bbox_head.bbox_coder.post_center_range",
    }


def test_vov_differs_from_r50_in_backbone_resolution_and_rate() -> None:
    paths = changes(load_config(R50).to_dict(), load_config(VOV).to_dict())
    allowed = (
        "data.batch_size",
        "data.train.pipeline.data_aug_conf",
        "data.val.pipeline.data_aug_conf",
        "model.img_backbone",
        "model.img_neck.in_channels",
        "model.pts_voxel_layer.voxel_size",
        "model.pts_middle_encoder.sparse_shape",
        "model.pts_bbox_head.bbox_coder.voxel_size",
        "model.train_cfg.pts.grid_size",
        "optimizer.lr",
        "schedule.target_ratio",
    )
    assert {path for path in paths if not path.startswith(allowed)} == set()
    assert {prefix for prefix in allowed if not any(path.startswith(prefix) for path in paths)} == set()


def test_single_modalities_differ_from_fusion_in_their_branch_and_head() -> None:
    fusion = load_config(VOV).model
    assert {path for path in changes(fusion, load_config(CAMERA).model) if not path.startswith("pts_")} == {
        "use_grid_mask",
    }
    head = {path for path in changes(fusion, load_config(CAMERA).model) if path.startswith("pts_bbox_head")}
    assert head == {
        "pts_bbox_head.type",
        "pts_bbox_head.bbox_coder.voxel_size",
        "pts_bbox_head.transformer.type",
    }
    lidar = {path for path in changes(fusion, load_config(LIDAR).model) if not path.startswith("img_")}
    assert lidar == {
        "use_grid_mask",
        "pts_bbox_head.type",
        "pts_bbox_head.separate_head.final_kernel",
        "pts_bbox_head.transformer.type",
        "pts_bbox_head.transformer.decoder.transformerlayers.with_cp",
    }


@pytest.mark.parametrize(
    ("name", "lr", "peak", "batch", "patterns"),
    [
        (R50, 1.4e-4, 8.4e-4, 4, {"img_backbone.*", "img_neck.*"}),
        (METRIC, 1.4e-4, 8.4e-4, 4, {"img_backbone.*", "img_neck.*"}),
        (VOV, 1e-4, 8e-4, 2, {"img_backbone.*", "img_neck.*"}),
        (LIDAR, 1e-4, 6e-4, 2, set()),
        (CAMERA, 1e-4, 8e-4, 2, {"img_backbone.*", "img_neck.*"}),
    ],
)
def test_schedules_are_upstreams(name: str, lr: float, peak: float, batch: int, patterns: set[str]) -> None:
    config = load_config(name)
    assert config.optimizer.lr == lr and config.optimizer.weight_decay == 0.01
    assert lr * config.schedule.target_ratio[0] == pytest.approx(peak) and config.schedule.target_ratio[1] == 1e-4
    assert config.data.batch_size == batch and config.train.epochs == 20 and config.train.grad_clip == 35
    assert set(config.optimizer.param_groups) == patterns
