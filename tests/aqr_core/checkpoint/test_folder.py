"""Checkpoint folders: whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, read_meta, read_weights, save_checkpoint, write_text, write_weights
from aqr_core.errors import CheckpointError
from aqr_core.models.geometry import BevGeometry

META = {"step": 3, "epoch": 1, "classes": ["car"]}


def net(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_folder_gives_back_every_parameter_and_buffer(tmp_path: Path) -> None:
    source, target = net(), net()
    source[1].running_mean.fill_(0.5)
    source[0].requires_grad_(False)
    folder = save_checkpoint(tmp_path / "runs" / "a", source, "seed = 1\n", META)
    report = load_weights(target, folder)
    assert same(source, target)
    assert set(report.loaded) == set(source.state_dict()) and not (report.missing or report.unexpected)
    assert (folder / "config.py").read_text() == "seed = 1\n"
    assert read_meta(folder) == {"format": "aqr-checkpoint", "version": 1, **META}


def test_the_weights_can_be_read_by_whoever_can_read_the_folder(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(), "", META)
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.py").stat().st_mode


def test_a_folder_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", net(), "", META, extra=lambda folder: write_text(folder / "old.txt", "x"))
    save_checkpoint(tmp_path / "a", net(), "", META)
    assert sorted(os.listdir(tmp_path)) == ["a"]
    assert not (tmp_path / "a" / "old.txt").exists()


def test_a_failed_save_keeps_the_previous_folder(tmp_path: Path) -> None:
    first = net()
    save_checkpoint(tmp_path / "a", first, "", META)

    def full_disk(_: Path) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path / "a", net(), "", META, extra=full_disk)
    assert sorted(os.listdir(tmp_path)) == ["a"]
    target = net()
    load_weights(target, tmp_path / "a")
    assert same(first, target)


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_checkpoint(tmp_path / "a", model, "", META)
    assert set(read_weights(tmp_path / "a")) == set(model.state_dict())


def test_meta_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(), "", META)
    (folder / "meta.json").write_text(json.dumps({"format": "aqr-checkpoint", "version": 9}))
    with pytest.raises(CheckpointError, match="version 9"):
        read_meta(folder)
    (folder / "meta.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        read_meta(folder)
    (folder / "meta.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        read_meta(folder)


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    """The library alone would write the two entries of the metadata in either order."""
    geometry = BevGeometry((-54.0, -54.0, -5.0, 54.0, 54.0, 3.0))
    files = []
    for number in range(8):
        write_weights(
            {"stage4/conv.weight": torch.ones(3, 2), "b": torch.zeros(1)}, tmp_path / f"{number}.safetensors", geometry
        )
        files.append((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(set(files)) == 1
    assert read_weights(tmp_path / "0.safetensors")["stage4/conv.weight"].shape == (3, 2)
