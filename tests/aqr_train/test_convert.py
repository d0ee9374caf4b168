"""`aqr convert`: any file in, a checkpoint folder out, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, read_meta, read_weights, read_weights_file
from aqr_core.config import load_config
from aqr_core.errors import CheckpointError
from aqr_core.models import build_detector
from aqr_train.checkpoints import SHIPPED
from aqr_train.cli import main

CONFIG = "cmt_tiny"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """The shipped baseline."""
    model = build_detector(load_config(CONFIG).model)
    load_weights(model, SHIPPED / "cmt_tiny")
    return model


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`convert(state, code, *words)`: saves it as mmcv does, runs the verb into `out`, returns what it says."""

    def run(state: dict, code: int, *words: str, config: str = CONFIG) -> str:
        torch.save({"state_dict": state, "meta": {"epoch": 20}, "optimizer": {}}, tmp_path / "w.pth")
        out = tmp_path / "out"
        assert main(["convert", str(tmp_path / "w.pth"), "--config", config, "--out", str(out), *words]) == code
        assert out.exists() == (code == 0) and sorted(path.name for path in tmp_path.iterdir() if path != out) == [
            "w.pth"
        ]
        said = capsys.readouterr()
        return said.err if code == 2 else said.out

    return run


def test_a_file_becomes_a_folder(model: nn.Module, convert, tmp_path: Path) -> None:
    state = {
        f"module.{key}": value.half() if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    said = convert({**state, "module.pts_bbox_head.transformer.selected_cls.bias": torch.zeros(3)}, 0)
    assert "loaded 365 tensors" in said and "converted 366: prefix 'module.'" in said
    assert "not used 1: MoME router" in said and said.rstrip().endswith("365 tensors written.")
    written = read_weights_file(tmp_path / "out")
    assert written.geometry == model.geometry
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in written.tensors.items())
    assert {value.dtype for value in written.tensors.values()} == {torch.float32, torch.int64}
    assert load_config(tmp_path / "out" / "config.py").model == load_config(CONFIG).model
    meta = read_meta(tmp_path / "out")
    assert meta["source"]["name"] == "w.pth" and len(meta["source"]["sha256"]) == 64 and len(meta["classes"]) == 10
    assert meta["converted"] == {"prefix 'module.' of a distributed wrapper removed": 366}
    json.dumps(meta)


def test_nothing_is_written_for_a_key_without_explanation(model: nn.Module, convert) -> None:
    state = model.state_dict()
    state["pts_bbox_head.reference_pointz.weight"] = state.pop("pts_bbox_head.reference_points.weight")
    said = convert(state, 1)
    assert "Nothing written, missing: pts_bbox_head.reference_points.weight; unexpected: pts_bbox_head." in said
    assert "did you mean 'pts_bbox_head.reference_points.weight'" in said
    convert(state, 1, "--partial")


def test_a_file_that_does_not_fill_the_model_is_partial(model: nn.Module, convert, tmp_path: Path) -> None:
    backbone = {key: value for key, value in model.state_dict().items() if key.startswith("img_backbone.")}
    assert "does not fill the model; add --partial" in convert(backbone, 1)
    assert f"{len(backbone)} tensors written" in convert(backbone, 0, "--partial")
    assert set(read_weights(tmp_path / "out")) == set(backbone)
    fresh = build_detector(load_config(CONFIG).model)
    with pytest.raises(CheckpointError, match="does not fit the model, missing: img_neck"):
        load_weights(fresh, tmp_path / "out")
    assert len(load_weights(fresh, tmp_path / "out", strict=False).loaded) == len(backbone)


def test_users_errors(model: nn.Module, convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = model.state_dict()
    assert "shares no tensor" in convert({"linear.weight": torch.zeros(2)}, 2)
    assert "belongs to another model" in convert(
        {**state, "pts_bbox_head.reference_points.weight": torch.zeros(7, 3)}, 2
    )
    assert "Did you mean 'cmt_tiny'" in convert(state, 2, config="cmt_tinny")
    range_ = "model.pts_bbox_head.bbox_coder.pc_range=[-31.0,-32.0,-5.0,32.0,32.0,3.0]"
    sentence = convert(state, 2, "--cfg-options", range_, "--assume-geometry")
    assert "was trained with range x -32..32" in sentence and "the model has range x -31..32" in sentence
    (tmp_path / "out").mkdir()
    words = ["convert", str(tmp_path / "w.pth"), "--config", CONFIG, "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "exists; name a new folder" in capsys.readouterr().err and not list((tmp_path / "out").iterdir())


def test_an_assumed_geometry_is_written_down(convert, tmp_path: Path) -> None:
    """A file of upstream's size that says nothing, for a grid that is not upstream's."""
    options = ["model.pts_bbox_head.hidden_dim=256", "model.pts_bbox_head.num_query=900"]
    options += ["model.pts_bbox_head.init_cfg=None"]  # it computes
    options += ["model.img_neck.out_channels=256", "model.pts_bbox_head.transformer.decoder.num_layers=1"]
    layers = "model.pts_bbox_head.transformer.decoder.transformerlayers"
    options += [f"{layers}.attn_cfgs.{i}.embed_dims=256" for i in (0, 1)] + [f"{layers}.ffn_cfgs.embed_dims=256"]
    config = load_config(CONFIG, options)
    state = dict(build_detector(config.model).state_dict())  # without its metadata
    assert "--assume-geometry" in convert(state, 2, "--cfg-options", *options)
    said = convert(state, 0, "--assume-geometry", "--cfg-options", *options)
    assert "geometry not stated by the file, assumed: range x -32..32" in said
    assert read_weights_file(tmp_path / "out").geometry == build_detector(config.model).geometry
