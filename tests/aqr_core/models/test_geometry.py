"""The geometry of a detector, from its config and in its state dict."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, read_weights_file
from aqr_core.errors import CheckpointError
from aqr_core.models import CmtDetector, build_detector
from aqr_core.models.geometry import BevGeometry
from aqr_core.models.head.position import bev_cell_centers, pos2embed

STATED = BevGeometry((-8, -8, -5, 8, 8, 3), (0.25, 0.25, 0.2), (41, 64, 64), (2.0, 2.0))


def stretched(model: dict) -> dict:
    """Upstream's way at 0.1 m: fewer cells than the range holds, coded as if they filled it."""
    model = copy.deepcopy(model)
    model["pts_middle_encoder"]["sparse_shape"] = [41, 56, 56]
    return {**model, "train_cfg": dict(pts=dict(grid_size=[56, 56, 40]))}


def coded_cell(model: CmtDetector, cells: int) -> float:
    """Metres between the codes of neighbouring cells, found by comparison with the codes of both candidates."""
    head = model.pts_bbox_head
    codes = head.bev_position((cells, cells))
    for metres in (2.0, 16 / cells):
        centers = bev_cell_centers((cells, cells), (metres / 16, metres / 16), torch.device("cpu"))
        if torch.allclose(codes, head.bev_embedding(pos2embed(centers, head.hidden_dim)), atol=1e-6):
            return metres
    raise AssertionError("neither")


def test_geometry_is_what_the_head_codes(tiny_model: dict) -> None:
    model = build_detector(tiny_model)
    assert model.geometry == STATED
    assert coded_cell(model, 8) == 2.0 == model.geometry.coded_cell[0]
    model = build_detector(stretched(tiny_model))
    assert model.geometry == BevGeometry((-8, -8, -5, 8, 8, 3), (0.25, 0.25, 0.2), (41, 56, 56), (16 / 7, 16 / 7))
    assert coded_cell(model, 7) == pytest.approx(model.geometry.coded_cell[0], abs=1e-6)


def test_a_camera_model_has_a_range_alone(tiny_model: dict) -> None:
    parts = {name: None for name in tiny_model if name.startswith("pts_") and name != "pts_bbox_head"}
    assert build_detector({**tiny_model, **parts}).geometry == BevGeometry((-8, -8, -5, 8, 8, 3))


def test_a_voxel_size_of_the_coder_is_not_needed(tiny_model: dict) -> None:
    model = copy.deepcopy(tiny_model)
    model["pts_bbox_head"]["bbox_coder"].pop("voxel_size", None)
    assert build_detector(model).geometry == STATED


def test_floating_point_does_not_matter() -> None:
    assert STATED == BevGeometry((-8, -8, -5, 8, 8, 3), (0.1 + 0.15, 0.25, 0.2), (41, 64, 64), (2 + 1e-9, 2.0))
    assert STATED != BevGeometry((-8, -8, -5, 8, 8, 3), (0.25, 0.25, 0.2), (41, 64, 64), (2 + 1e-5, 2.0))
    assert BevGeometry.from_record(STATED.record()) == STATED


def test_it_reads_as_a_sentence() -> None:
    assert str(STATED) == (
        "range x -8..8, y -8..8, z -5..3 m, voxels 0.25 x 0.25 x 0.2 m, grid 41 x 64 x 64, BEV cells coded as 2 x 2 m"
    )


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: nn.ModuleDict({"module": m})], ids=["bare", "wrapped"])
def test_the_state_dict_carries_it(wrap, tiny_model: dict, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": wrap(build_detector(tiny_model)).state_dict()}, path)
    assert read_weights_file(path).geometry == STATED
    load_weights(copy.deepcopy(build_detector(tiny_model)), path)
    with pytest.raises(CheckpointError, match="was trained with range x -8..8.*grid 41 x 56 x 56"):
        load_weights(build_detector(stretched(tiny_model)), path)
