"""Files like those that upstream and others released, and the shipped configs.

The files hold the official names and shapes with one number per tensor: `expand` keeps them small on disk.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aqr_core.checkpoint import load_weights, read_weights_file
from aqr_core.checkpoint.geometry_guard import METRIC_0100, UPSTREAM_0075, UPSTREAM_0100
from aqr_core.config import load_config
from aqr_core.errors import CheckpointError
from aqr_core.models import build_detector
from aqr_core.models.geometry import BevGeometry
from aqr_train.assembly import build_model
from aqr_train.checkpoints import SHIPPED

FUSION = "cmt_voxel0100_r50_800x320_cbgs"
Rows = list[tuple[str, tuple[int, ...], torch.dtype]]


@pytest.fixture(scope="module")
def rows(shared_dir: Path) -> Rows:
    """Key, shape, dtype of the official R50 fusion model."""
    with open(shared_dir / "reference/cmt_r50_state_dict.tsv") as file:
        return [
            (row["key"], shape_of(row["shape"]), getattr(torch, row["dtype"]))
            for row in csv.DictReader(file, delimiter="\t")
        ]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_detector(load_config(FUSION).model)


@pytest.fixture
def official(rows: Rows, tmp_path: Path):
    """`official(**renamed)`: a file as mmcv writes it, and with what `more` adds."""

    def write(more: Mapping[str, Tensor] | None = None, without: str = "", **renamed: str) -> Path:
        state = {renamed.get(key, key): constant(shape, dtype) for key, shape, dtype in rows if key != without}
        content = {
            "meta": {"mmcv_version": "1.6.0", "epoch": 20, "iter": 70300, "CLASSES": ("car",), "time": "now"},
            "state_dict": {**state, **(more or {})},
            "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]},
        }
        torch.save(content, tmp_path / "epoch_20.pth")
        return tmp_path / "epoch_20.pth"

    return write


def shape_of(text: str) -> tuple[int, ...]:
    numbers = text.strip("()").replace(" ", "").strip(",")
    return () if numbers in ("", "scalar") else tuple(map(int, numbers.split(",")))


def constant(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full((), 0.5).to(dtype).expand(shape)


def test_keys_and_shapes_are_the_official_ones(model: nn.Module, rows: Rows) -> None:
    assert len(rows) == 689
    assert [(key, tuple(value.shape), value.dtype) for key, value in model.state_dict().items()] == rows


def test_an_official_file_loads_whole(model: nn.Module, official) -> None:
    report = load_weights(model, official())
    assert len(report.loaded) == 689
    assert not report.missing and not report.unexpected and not report.explained and not report.converted
    assert all((value == 0.5).all() for value in model.state_dict().values() if value.is_floating_point())


@pytest.mark.parametrize(
    "key", ["pts_bbox_head.reference_points.weight", "img_neck.fpn_convs.0.conv.bias", "pts_neck.deblocks.0.0.weight"]
)
def test_one_renamed_key_is_named(key: str, model: nn.Module, official) -> None:
    other = key.replace("pts_", "pt_").replace("conv.", "convs.")
    path = official(**{key: other})
    with pytest.raises(CheckpointError) as error:
        load_weights(model, path)
    assert f"missing: {key}; unexpected: {other} (did you mean '{key}'?)" in str(error.value)
    report = load_weights(model, path, strict=False)
    assert (report.missing, report.unexpected) == ((key,), (other,))


def test_a_lost_key_is_named(model: nn.Module, official) -> None:
    with pytest.raises(CheckpointError, match="missing: pts_bbox_head.reference_points.weight; use its own config"):
        load_weights(model, official(without="pts_bbox_head.reference_points.weight"))


def test_mome_serves_as_cmt(model: nn.Module, official, rows: Rows, shared_dir: Path) -> None:
    listing = (shared_dir / "reference/mome_head_state_dict.tsv").read_text().splitlines()[2:]
    known = {key for key, _, _ in rows}
    more = {
        key: constant(shape_of(shape)) for key, shape, _ in (line.split("\t") for line in listing) if key not in known
    }
    report = load_weights(model, official(more))
    assert len(report.loaded) == 689 and not report.missing and not report.unexpected
    assert {reason.split(",")[0]: len(keys) for reason, keys in report.unused.items()} == {
        "MoME router": 16,
        "MoME camera code": 21,
        "MoME type embeddings": 2,
    }


def test_what_each_file_leaves_open(model: nn.Module, official, rows: Rows, tmp_path: Path) -> None:
    lidar = load_config("cmt_lidar_voxel0075_cbgs").model
    with pytest.raises(CheckpointError, match=r"\(384, 256, 1\), model \(384, 256, 3\).*final_kernel=3"):
        load_weights(build_detector(lidar), official())
    lidar.pts_bbox_head.separate_head.final_kernel = 1
    report = load_weights(build_detector(lidar), official())  # says nothing of its geometry: taken as upstream's
    assert {reason: len(keys) for reason, keys in report.unused.items()} == {
        "camera branch, which this model does not have": 318 + 6 + 4
    }
    backbone = {key: constant(shape, dtype) for key, shape, dtype in rows if key.startswith("img_backbone.")}
    torchvision = {key.removeprefix("img_backbone."): value for key, value in backbone.items()}
    old = {key: value for key, value in torchvision.items() if "num_batches_tracked" not in key}
    for state in (torchvision, old):
        torch.save({**state, "fc.weight": constant((1000, 2048)), "fc.bias": constant((1000,))}, tmp_path / "r50.pth")
        report = load_weights(model, tmp_path / "r50.pth", strict=False)
        assert len(report.loaded) == 318 and not report.unexplained()
        with pytest.raises(CheckpointError, match="does not fit the model, missing: img_neck.*does not hold"):
            load_weights(model, tmp_path / "r50.pth")


GEOMETRIES = {
    FUSION: UPSTREAM_0100,
    "cmt_aqr_voxel0100_r50_800x320_cbgs": UPSTREAM_0100,
    "cmt_aqr_v1_voxel0100_r50_800x320_cbgs": UPSTREAM_0100,
    f"{FUSION}_metric": METRIC_0100,
    "cmt_voxel0075_vov_1600x640_cbgs": UPSTREAM_0075,
    "cmt_aqr_voxel0075_vov_1600x640_cbgs": UPSTREAM_0075,
    "cmt_lidar_voxel0075_cbgs": UPSTREAM_0075,
    "cmt_camera_vov_1600x640_cbgs": BevGeometry(UPSTREAM_0100.point_cloud_range),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries_of_the_shipped_configs(name: str) -> None:
    assert BevGeometry.from_config(load_config(name).model) == GEOMETRIES[name]


def test_official_weights_are_refused_by_the_metric_grid(official) -> None:
    metric = build_detector(load_config(f"{FUSION}_metric").model)
    with pytest.raises(CheckpointError, match=rf"does not state its geometry.*use config {FUSION} or"):
        load_weights(metric, official())


def test_the_demo_starts_aqr_from_the_shipped_baseline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aqr_core.checkpoint")
    build_model(load_config("cmt_aqr_tiny"))
    first, *remarks = caplog.messages
    assert read_weights_file(SHIPPED / "cmt_tiny").geometry == BevGeometry.from_config(load_config("cmt_tiny").model)
    assert first.endswith("loaded 365 tensors")
    assert "initial 16: AQR weight generator, which the file does not hold: it starts neutral" in remarks[0]
    assert "initial 1: AQR attention bias, which the file does not hold" in remarks[1]
    assert "initial: pts_bbox_head.aqr_weight_generator.bev_type_embed, " in remarks[2]
    assert remarks[3].endswith("initial: pts_bbox_head.attention_bias_generator.bias_scale")
