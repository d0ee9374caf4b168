"""Where the ground truth of a dataset comes from, and that all sources say the same."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from aqr_core.infos import open_infos
from aqr_eval import GroundTruth, load_ground_truth
from aqr_eval.boxes import Boxes
from aqr_train import truth as truth_module
from aqr_train.cli import main
from aqr_train.truth import ground_truth_from_infos, ground_truth_of, prepared_file

VERSION = "v1.0-mini"


@pytest.fixture
def dataroot(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", VERSION]) == 0
    return root


def assert_same(one: GroundTruth, other: GroundTruth) -> None:
    assert (one.tokens, one.scenes) == (other.tokens, other.scenes)
    for field in fields(Boxes):
        np.testing.assert_array_equal(getattr(one.boxes, field.name), getattr(other.boxes, field.name))


def test_prepare_writes_what_the_tables_say(dataroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is there, the tables are not read; a change of the tables makes it anew."""
    infos = open_infos(dataroot / "infos_mini_val.jsonl")
    tables = load_ground_truth(dataroot, VERSION, "mini_val")
    prepared = prepared_file(infos.path, "mini_val")
    assert not prepared_file(infos.path, "mini_train").exists()
    monkeypatch.setattr(truth_module, "load_ground_truth", lambda *source: opened.append(source) or tables)
    opened: list[tuple] = []
    truth_module._load.cache_clear()
    ground_truth_of(infos, dataroot)
    assert opened == [(str(prepared), None, None)]
    monkeypatch.undo()
    truth_module._load.cache_clear()
    assert_same(ground_truth_of(infos, dataroot), tables)

    os.utime(prepared, (2e9, 2e9))  # younger than the tables: kept
    before = prepared.stat().st_mtime_ns
    assert main(["prepare", "--dataroot", str(dataroot), "--version", VERSION]) == 0
    assert prepared.stat().st_mtime_ns == before
    os.utime(dataroot / VERSION / "scene.json", (2.1e9, 2.1e9))
    assert main(["prepare", "--dataroot", str(dataroot), "--version", VERSION]) == 0
    assert prepared.stat().st_mtime_ns != before


def test_infos_alone(dataroot: Path, tmp_path: Path) -> None:
    """Moved away from the tables, the infos serve; the package that only scores reads them alike."""
    moved = tmp_path / "elsewhere" / "infos_mini_val.jsonl"
    moved.parent.mkdir()
    moved.write_bytes((dataroot / "infos_mini_val.jsonl").read_bytes())
    infos = open_infos(moved)
    ours = ground_truth_of(infos, tmp_path / "elsewhere")
    assert_same(ours, ground_truth_from_infos(infos))
    assert_same(ours, load_ground_truth(moved))
    np.testing.assert_array_equal(ours.cameras.global2img, load_ground_truth(moved).cameras.global2img)
    exact = load_ground_truth(dataroot, VERSION, "mini_val", cameras=True)
    np.testing.assert_allclose(ours.cameras.global2img, exact.cameras.global2img, rtol=1e-6, atol=1e-3)
