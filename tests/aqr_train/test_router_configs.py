"""The router's configs: what official weights fill, what learns in which, and a short training on synthetic data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from aqr_core.checkpoint import load_weights
from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_core.models.head import RouterHead
from aqr_train.cli import main
from aqr_train.param_groups import build_grouping

STAGE_2, STAGE_1, TINY = "mome_voxel0075_vov_1600x640_cbgs", "moad_voxel0075_vov_1600x640_cbgs", "cmt_router_tiny"
ROUTER = ("pts_bbox_head.transformer.encoder.", "pts_bbox_head.transformer.selected_cls.")


def build(name: str) -> torch.nn.Module:
    return build_detector(load_config(name).model)


def official_shapes(shared_dir: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of MoME's head, with the queries and decoder layers that the listing leaves out."""
    rows = (shared_dir / "reference" / "mome_head_state_dict.tsv").read_text().splitlines()[2:]
    shapes = {}
    for key, shape, _ in (row.split("\t") for row in rows):
        sizes = tuple(int(n) for n in shape.strip("()").split(",") if n.strip())
        for layer in range(6) if ".decoder.layers.0." in key else (None,):
            name = key if layer is None else key.replace("decoder.layers.0.", f"decoder.layers.{layer}.")
            grouped = ".task_heads." in key
            shapes[name] = (sizes[0] * 3, *sizes[1:]) if grouped else (900, 3) if "reference_points" in key else sizes
    return shapes


def test_official_weights_of_the_second_stage_fill_the_head(shared_dir, tmp_path):
    model, official = build(STAGE_2), official_shapes(shared_dir)
    head_keys = {key for key in model.state_dict() if key.startswith("pts_bbox_head.")}
    assert head_keys == official.keys()
    state = {key: value.clone() for key, value in model.state_dict().items() if key not in head_keys}
    state |= {key: torch.full((), 0.5).expand(shape) for key, shape in official.items()}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "mome.pth")
    report = load_weights(model, tmp_path / "mome.pth")
    assert len(report.loaded) == len(model.state_dict())
    assert not report.missing and not report.unexpected and not report.explained
    assert all((value == 0.5).all() for key, value in model.state_dict().items() if key.startswith(ROUTER))


def test_a_first_stage_file_leaves_the_router_new(tmp_path):
    model = build(STAGE_2)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(ROUTER)}
    assert state.keys() == build(STAGE_1).state_dict().keys()
    torch.save(state, tmp_path / "moad.pth")
    report = load_weights(model, tmp_path / "moad.pth", strict=False)
    assert not report.unexplained() and sum(map(len, report.absent.values())) == 16


def test_the_second_stage_trains_the_router_alone():
    config, parent = load_config(STAGE_2), load_config(STAGE_1)
    model = build(STAGE_2)
    grouping = build_grouping(model, 1e-4, 0.01, config.optimizer.param_groups)
    grouping.train_mode(model)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(learning) == 16 and all(name.startswith(ROUTER) for name in learning)
    held = [
        model.img_backbone,
        model.pts_neck,
        model.pts_bbox_head.shared_conv,
        model.pts_bbox_head.transformer.decoder,
    ]
    assert not any(module.training for part in held for module in part.modules())
    assert model.pts_bbox_head.training and model.pts_bbox_head.transformer.encoder.training
    steps = [step.type for step in config.data.train.pipeline]
    assert steps[0] == "ModalMask3D" and "UnifiedObjectSample" not in steps
    assert [step.type for step in config.data.val.pipeline] == [step.type for step in parent.data.val.pipeline]


def test_the_tiny_router_trains_all_but_the_backbones():
    config = load_config(TINY)
    model = build(TINY)
    build_grouping(model, 1e-4, 0.01, config.optimizer.param_groups)
    frozen = {name.split(".")[0] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"img_backbone", "pts_middle_encoder", "pts_backbone"}
    assert isinstance(model.pts_bbox_head, RouterHead) and model.pts_bbox_head.transformer.train_experts
    assert config.data.train.pipeline[0] == dict(type="ModalMask3D", mode="train")


@pytest.mark.slow
def test_the_tiny_router_learns_which_sensors_work(tmp_path):
    root = str(tmp_path / "data")
    assert main(["synth", "--out", root, "--scenes", "2", "--seed", "3", "--preset", "tiny"]) == 0
    assert main(["prepare", "--dataroot", root, "--version", "v1.0-mini"]) == 0
    options = [
        f"dataroot={root}",
        "data.train.infos=infos_mini_train.jsonl",
        "data.num_workers=0",
        "train.max_steps=22",
        "train.log_every=1",
        "train.val_every=None",
        "train.save_every=0",
    ]
    assert main(["train", TINY, "--work-dir", str(tmp_path / "work"), "--cfg-options", *options]) == 0
    records = [json.loads(line) for line in (tmp_path / "work" / "scalars.jsonl").read_text().splitlines()]
    losses = [record["train/router_loss"] for record in records if "train/router_loss" in record]
    assert losses[0] == pytest.approx(math.log(3), abs=1e-4)
    assert sum(losses[-6:]) / 6 < 0.9 * math.log(3)
    assert any("aqr/route_bev" in record for record in records)
