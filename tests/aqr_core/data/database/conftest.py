from __future__ import annotations

from pathlib import Path

import pytest

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.build import build_object_database
from aqr_core.infos import build_infos
from aqr_core.synth import generate


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataroot with one synthetic scene of six keyframes, and its infos."""
    root = tmp_path_factory.mktemp("database") / "data"
    generate(root, 1, 3, workers=1)
    return root, build_infos(root, "v1.0-mini", root)["mini_train"]


@pytest.fixture(scope="session")
def database(synthetic: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> ObjectDatabase:
    """Its objects, with images."""
    root, infos = synthetic
    return build_object_database(root, infos, tmp_path_factory.mktemp("database") / "gt_database", workers=1)
