"""Damage that a checkpoint folder can tell by its checksums, and what killed processes leave."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from torch import nn

from aqr_core.checkpoint import (
    find_damage,
    read_weights,
    remove_folder,
    save_checkpoint,
    sweep_unfinished,
    write_text,
    write_torch_file,
)
from aqr_core.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(
        tmp_path / "a", nn.Linear(3, 3), "seed = 1\n", {}, lambda at: write_torch_file([1], at / "s.pt")
    )


def test_the_list_is_that_of_sha256sum(folder: Path) -> None:
    assert [line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()] == [
        "model.safetensors",
        "s.pt",
    ]
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_whole_changed_and_missing_files(folder: Path) -> None:
    assert find_damage(folder) is None
    (folder / "config.py").write_text("seed = 2\n")  # text may be edited
    assert find_damage(folder) is None
    (folder / "s.pt").unlink()
    assert find_damage(folder) == f"{folder / 's.pt'} is missing"
    assert find_damage(folder, only="model.safetensors") is None
    (folder / "SHA256SUMS").unlink()
    assert find_damage(folder) is None  # of a release without checksums


def test_a_flipped_weight_is_not_read(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # a valid file with another number in it
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged \(its checksum .* take another copy."):
        read_weights(folder)


def test_only_names_of_unfinished_files_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".a.0123abcd.tmp").mkdir()
    (tmp_path / ".b.0123abcd.old").write_text("")
    for name in (".hidden", "a.tmp", ".a.tmp", ".a.0123abcd.txt"):
        (tmp_path / name).write_text("")
    assert sorted(sweep_unfinished(tmp_path)) == [".a.0123abcd.tmp", ".b.0123abcd.old"]
    assert sorted(os.listdir(tmp_path)) == [".a.0123abcd.txt", ".a.tmp", ".hidden", "a.tmp"]
    assert sweep_unfinished(tmp_path / "absent") == []


def test_a_folder_is_gone_in_one_stroke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    write_text(tmp_path / "a" / "b" / "c", "")

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.undo()
    assert len(sweep_unfinished(tmp_path)) == 1 and not os.listdir(tmp_path)
