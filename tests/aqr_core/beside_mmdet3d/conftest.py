"""Tests beside mmdet3d 1.4: `make test-mmdet3d` runs this folder, an environment without mmdet3d does not see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from aqr_core.data.database.build import build_object_database
from aqr_core.infos import build_infos
from aqr_core.synth import generate

collect_ignore_glob = [] if find_spec("mmdet3d") else ["test_*.py"]

VERSION = "v1.0-mini"


@pytest.fixture(scope="session")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataroot that mmdet3d's `create_data.py` and `aqr prepare` have both worked on.

    Two synthetic scenes in which the vehicle drives and turns. Nobody knows the velocity of one object, another is an
    animal, and there are bicycle racks: neither is of the ten classes.
    """
    root = tmp_path_factory.mktemp("created") / "data" / "nuscenes"
    generate(root, 2, 3, preset="mini", workers=1, keyframes=3)
    _make_unusual(root / VERSION)
    infos = build_infos(root, VERSION, root)
    build_object_database(root, infos["mini_train"], root / "gt_database_mini_train", workers=1)
    _run_create_data(root)
    return root


def _make_unusual(tables: Path) -> None:
    def change(name: str, edit) -> list[dict]:
        path = tables / f"{name}.json"
        rows = json.loads(path.read_text())
        edit(rows)
        path.write_text(json.dumps(rows))
        return rows

    instances = json.loads((tables / "instance.json").read_text())
    alone, animal = instances[0]["token"], instances[1]["token"]

    def unlink(rows: list[dict]) -> None:
        for row in rows:
            if row["instance_token"] == alone:
                row["prev"] = row["next"] = ""

    change("sample_annotation", unlink)
    change("category", lambda rows: rows.append({"token": "animal", "name": "animal", "description": ""}))
    change("instance", lambda rows: [row.update(category_token="animal") for row in rows if row["token"] == animal])


def _run_create_data(root: Path) -> None:
    """The tool looks for `./data/nuscenes`, whatever it is told."""
    tools = Path(find_spec("mmdet3d").origin).parent / ".mim"
    arguments = ["nuscenes", "--root-path", "./data/nuscenes", "--out-dir", "./data/nuscenes"]
    done = subprocess.run(
        [sys.executable, tools / "tools/create_data.py", *arguments, "--extra-tag", "nuscenes", "--version", VERSION],
        cwd=root.parents[1],
        env={**os.environ, "PYTHONPATH": str(tools), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataroot in the size of `cmt_tiny`, with infos of `create_data.py`: six keyframes to train on, six to test."""
    root = tmp_path_factory.mktemp("driven") / "data" / "nuscenes"
    generate(root, 2, 7, preset="tiny", workers=1)
    _run_create_data(root)
    return root


@pytest.fixture
def mmdet3d_config(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """(name of a shipped config for mmdet3d, dataroot) -> that config, loaded as mmdet3d's tools load it."""

    def load(name: str, root: Path) -> Config:
        import aqr_train.configs  # absent where this package is tested alone, as mmdet3d is

        init_default_scope("mmdet3d")  # as mmengine's runner does
        monkeypatch.setenv("NUSCENES_ROOT", str(root))
        monkeypatch.setenv("NUSCENES_VERSION", VERSION)
        return Config.fromfile(Path(aqr_train.configs.__path__[0]) / "mmdet3d" / f"{name}.py")

    return load
