"""Writes configs of the field into a folder and converts them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_train.config_conversion import Conversion, convert_config
from aqr_train.config_conversion.conversion import convert_source
from aqr_train.config_conversion.source import read_source

sys.path.insert(0, str(Path(__file__).parent))
from field_configs import FieldConfig  # noqa: E402


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(FieldConfig(...) or text, name='source.py')` -> path of the file."""

    def write_file(source: FieldConfig | str, name: str = "source.py") -> Path:
        path = tmp_path / name
        path.write_text(source if isinstance(source, str) else source.text())
        return path

    return write_file


@pytest.fixture(scope="session")
def parameters() -> list[str]:
    """Full names of the parameters of the 800x320 model."""
    with torch.device("meta"):
        model = build_detector(load_config("cmt_voxel0100_r50_800x320_cbgs").model)
    return [name for name, _ in model.named_parameters()]


@pytest.fixture
def convert(write: Callable[..., Path], parameters: list[str]) -> Callable[..., Conversion]:
    """`convert(more='x = 1', edits=(('a', 'b'),))`: the official 800x320 config, changed, and converted.

    With `built=True` the model is built and everything checked, as the command does.
    """

    def run(*, built: bool = False, **values: Any) -> Conversion:
        path = write(FieldConfig(**values))
        return convert_config(path) if built else convert_source(read_source(path), parameters)

    return run
