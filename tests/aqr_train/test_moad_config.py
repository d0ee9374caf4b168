"""The config for MoME's checkpoints: what it adds to CMT's, and that both stages' files load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aqr_core.checkpoint import load_weights
from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_core.models.head import MOADTransformer

NAME, PARENT = "moad_voxel0075_vov_1600x640_cbgs", "cmt_voxel0075_vov_1600x640_cbgs"
ROUTER = ("pts_bbox_head.transformer.encoder.", "pts_bbox_head.transformer.selected_cls.")


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return build_detector(load_config(NAME).model)


@pytest.fixture(scope="module")
def official(shared_dir: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of MoME's head; queries and decoder layers are fewer in this listing."""
    rows = (shared_dir / "reference" / "mome_head_state_dict.tsv").read_text().splitlines()[2:]
    cells = [row.split("\t") for row in rows]
    return {key: tuple(int(n) for n in shape.strip("()").split(",") if n.strip()) for key, shape, _ in cells}


def test_it_adds_type_vectors_and_camera_codes_to_its_parent(model, official):
    parent = build_detector(load_config(PARENT).model)
    added = model.state_dict().keys() - parent.state_dict().keys()
    assert parent.state_dict().keys() <= model.state_dict().keys()
    assert added == {key for key in official if ".cam_embed." in key or key.endswith("_type_embed")}
    assert {key: tuple(model.state_dict()[key].shape) for key in added} == {key: official[key] for key in added}
    assert isinstance(model.pts_bbox_head.transformer, MOADTransformer)


@pytest.mark.parametrize("stage", [1, 2])
def test_files_of_both_stages_load(model, official, stage, tmp_path):
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["pts_bbox_head.transformer.bev_type_embed"] = torch.full((256,), 7.0)
    if stage == 2:
        state |= {key: torch.zeros(shape) for key, shape in official.items() if key.startswith(ROUTER)}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "moad.pth")
    report = load_weights(model, tmp_path / "moad.pth")
    assert len(report.loaded) == len(model.state_dict()) and not report.unexplained()
    unused = {key for keys in report.unused.values() for key in keys}
    assert unused == {key for key in official if key.startswith(ROUTER) and stage == 2}
    assert [reason.partition(",")[0] for reason in report.unused] == ["MoME router"] * (stage - 1)
    assert (model.pts_bbox_head.transformer.bev_type_embed == 7).all()


def test_several_processes_train_although_fusion_leaves_the_camera_codes_out():
    # The fused expert alone is trained: the codes get no gradient, for which DDP would wait.
    assert load_config(NAME).train.find_unused_parameters
    assert not load_config(PARENT).train.find_unused_parameters
