"""The scripts of docker/ can be imported by name, as they import each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
sys.path[:0] = [str(DOCKER / "check"), str(DOCKER / "build_test")]


@pytest.fixture(scope="session")
def docker_dir() -> Path:
    return DOCKER


@pytest.fixture(scope="session")
def repository() -> Path:
    return DOCKER.parent
