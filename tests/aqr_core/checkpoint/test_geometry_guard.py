"""Weights with the shapes of the model and another geometry are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import LoadReport, load_weights, save_checkpoint
from aqr_core.checkpoint.geometry_guard import METRIC_0100, UPSTREAM_0075, UPSTREAM_0100
from aqr_core.errors import CheckpointError
from aqr_core.models.geometry import BevGeometry

CAMERA = BevGeometry(UPSTREAM_0100.point_cloud_range)
META = {"step": 1, "epoch": 0, "classes": []}


class Detector(nn.Module):
    """What of a detector has learned the geometry."""

    def __init__(self, geometry: BevGeometry, queries: int = 900) -> None:
        super().__init__()
        self.geometry = geometry
        self.pts_backbone = nn.Linear(2, 2)
        self.pts_bbox_head = nn.ModuleDict(
            {"reference_points": nn.Embedding(queries, 3), "bev_embedding": nn.Sequential(nn.Linear(512, 256))}
        )


def load(tmp_path: Path, model: Detector, source: nn.Module, **options: bool) -> LoadReport:
    torch.save(source.state_dict(), tmp_path / "w.pth")
    return load_weights(model, tmp_path / "w.pth", **options)


def test_another_geometry_is_refused_with_both_and_the_config_to_use(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", Detector(UPSTREAM_0100), "", META)
    with pytest.raises(CheckpointError) as error:
        load_weights(Detector(METRIC_0100), folder)
    for words in (str(UPSTREAM_0100), str(METRIC_0100), f"use its own config {folder / 'config.py'}"):
        assert words in str(error.value)
    (folder / "config.py").unlink()
    with pytest.raises(CheckpointError, match="use config cmt_voxel0100_r50_800x320_cbgs"):
        load_weights(Detector(METRIC_0100), folder, strict=False)
    with pytest.raises(CheckpointError, match="was trained with"):  # a statement cannot be overruled
        load_weights(Detector(METRIC_0100), folder, assume_geometry=True)
    assert load_weights(Detector(UPSTREAM_0100), folder).notes == ()


def test_the_range_is_compared_where_only_that_is_shared(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", Detector(UPSTREAM_0075), "", META)
    load_weights(Detector(CAMERA), folder)
    near = BevGeometry(METRIC_0100.point_cloud_range)
    with pytest.raises(CheckpointError, match="the model has range x -51.2"):
        load_weights(Detector(near), folder)


@pytest.mark.parametrize("geometry", [UPSTREAM_0100, UPSTREAM_0075, CAMERA])
def test_a_silent_file_of_upstreams_size_is_upstreams(geometry: BevGeometry, tmp_path: Path) -> None:
    (note,) = load(tmp_path, Detector(geometry), Detector(geometry)).notes
    assert note == f"geometry not stated by the file, taken as upstream's: {geometry}"


def test_a_silent_file_of_upstreams_size_is_refused_by_another_geometry(tmp_path: Path) -> None:
    model = Detector(METRIC_0100)
    with pytest.raises(CheckpointError, match=r"does not state its geometry.*cbgs or, .*--assume-geometry"):
        load(tmp_path, model, Detector(METRIC_0100))
    assert "assumed" in load(tmp_path, model, Detector(METRIC_0100), assume_geometry=True).notes[0]


def test_a_silent_file_of_another_size_is_loaded(tmp_path: Path) -> None:
    assert load(tmp_path, Detector(METRIC_0100, queries=7), Detector(METRIC_0100, queries=7)).notes == ()


def test_parts_that_have_learned_no_geometry_are_not_asked_for_it(tmp_path: Path) -> None:
    source = nn.ModuleDict({"pts_backbone": nn.Linear(2, 2)})
    source.geometry = UPSTREAM_0100
    folder = save_checkpoint(tmp_path / "a", source, "", META)
    assert len(load_weights(Detector(METRIC_0100), folder, strict=False).loaded) == 2
