"""Settings that exclude each other are refused before a model is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_train.conflicts import check_conflicts, check_deepspeed
from aqr_train.settings import TrainSettings

FLEX = "model.pts_bbox_head.attention_bias_config.attention_backend=flex"


@pytest.mark.parametrize("kind", ["ZeRO-3", "FSDP2"])
def test_an_average_of_shards(kind: str) -> None:
    check_conflicts({}, TrainSettings(max_steps=1, ema=0.9), "DDP", "cpu")
    check_conflicts({}, TrainSettings(max_steps=1), kind, "cpu")
    with pytest.raises(ConfigError, match=f"train.ema is 0.9, but {kind} leaves no process with whole weights"):
        check_conflicts({}, TrainSettings(max_steps=1, ema=0.9), kind, "cpu")


def test_an_option_of_ddp_alone() -> None:
    settings = TrainSettings(max_steps=1, find_unused_parameters=True)
    check_conflicts({}, settings, "DDP", "cpu")
    with pytest.raises(ConfigError, match="is an option of DDP and the launcher asks for ZeRO-2"):
        check_conflicts({}, settings, "ZeRO-2", "cpu")


def test_flex_attention_needs_a_gpu() -> None:
    config = load_config("cmt_aqr_tiny", [FLEX])
    check_conflicts(config, TrainSettings(max_steps=1), "one process", "cuda")
    with pytest.raises(ConfigError, match="is 'flex', which has no backward pass on a CPU; set it to 'auto'"):
        check_conflicts(config, TrainSettings(max_steps=1), "one process", "cpu")


@pytest.mark.parametrize("version", ["0.18.9", "0.20.0", "1.0"])
def test_a_deepspeed_that_was_never_tried(version: str) -> None:
    check_deepspeed("0.19.8")
    check_deepspeed("0.19.9+cu126")
    with pytest.raises(ConfigError, match=f"DeepSpeed {version} is installed; tested are versions from 0.19.8 to"):
        check_deepspeed(version)


def test_a_conflict_is_told_before_data_is_opened(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aqr_train.assembly.engine_kind", lambda scheme, accelerator: "FSDP2")
    train("run", "--cfg-options", "train.ema=0.9", "data.train.length=0", expect=2)
    assert "train.ema is 0.9, but FSDP2 leaves no process" in capsys.readouterr().err
