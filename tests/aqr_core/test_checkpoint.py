"""Checkpoint folders and loading of weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, read_meta, read_weights, save_checkpoint, write_text
from aqr_core.errors import CheckpointError

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


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "meta": {"epoch": 3}}, lambda s: {"model": s}]
)
def test_pth_files_bare_or_wrapped(tmp_path: Path, wrap) -> None:
    source, target = net(), net()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same(source, target)


def test_a_safetensors_file_alone(tmp_path: Path) -> None:
    source, target = net(), net()
    load_weights(target, save_checkpoint(tmp_path / "a", source, "", META) / "model.safetensors")
    assert same(source, target)


def test_another_model_is_refused_with_the_shapes(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(4), "", META)
    with pytest.raises(CheckpointError, match=r"0.weight: file \(4, 2\), model \(5, 2\)"):
        load_weights(net(5), folder)
    with pytest.raises(CheckpointError, match="shares no tensor"):
        load_weights(nn.ModuleDict({"other": nn.Linear(2, 2)}), folder, strict=False)


def test_strict_names_missing_and_unexpected_keys(tmp_path: Path) -> None:
    small, large = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"missing: 1.weight, 1.bias"):
        load_weights(large, save_checkpoint(tmp_path / "small", small, "", META))
    with pytest.raises(CheckpointError, match=r"unexpected: 1.bias, 1.weight"):
        load_weights(small, save_checkpoint(tmp_path / "large", large, "", META))


def test_not_strict_reports_and_loads_the_rest(tmp_path: Path) -> None:
    source, target = net(4), net(5)
    report = load_weights(target, save_checkpoint(tmp_path / "a", source, "", META), strict=False)
    assert "2.bias" in report.loaded and torch.equal(source[2].bias, target[2].bias)
    assert report.mismatched[0] == "0.weight: file (4, 2), model (5, 2)"
    assert any("other shape" in line for line in report.lines())


def test_a_report_counts_by_module(tmp_path: Path) -> None:
    source = nn.ModuleDict({"a": nn.Linear(2, 2)})
    target = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ModuleDict({"c": nn.Linear(2, 2)})})
    report = load_weights(target, save_checkpoint(tmp_path / "a", source, "", META), strict=False)
    assert report.lines() == ["loaded 2 tensors", "missing 2: b.c (2)"]


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (os.system, ("true",))

    torch.save({"state_dict": Evil()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_weights(tmp_path / "w.pth")


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(), "", META)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(folder)
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_weights(tmp_path / "nothing")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_weights(tmp_path / "list.pth")


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
