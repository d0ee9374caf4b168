"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of references, golden arrays and real frames beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{folder} is absent; CI needs the golden arrays and real frames beside the repository.")
        pytest.skip(f"{folder} is absent: golden arrays and real frames are not shipped with the repository.")
    return folder
