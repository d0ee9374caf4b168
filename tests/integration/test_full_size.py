"""The real keyframe through full-size models on the CPU, as the benchmark of that name runs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from accelerate.state import AcceleratorState

SCRIPT = Path(__file__).resolve().parents[2] / "packages/aqr_train/benchmarks/full_size_real_frame.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def benchmark() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    AcceleratorState._reset_state(True)


# The VoVNet models take minutes on a core; docs/benchmarks/full_size.md has them.
@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        ("cmt_voxel0100_r50_800x320_cbgs:predict", "300 finite boxes"),
        ("cmt_lidar_voxel0075_cbgs:predict", "300 finite boxes"),
        ("cmt_voxel0100_r50_800x320_cbgs:train", "gradients on all 422 parameters"),
    ],
)
def test_real_keyframe_at_full_size(benchmark: ModuleType, shared_dir: Path, run: str, outcome: str) -> None:
    # `measure` asserts finite boxes and scores, or finite losses and a finite gradient on every trainable parameter.
    found = benchmark.measure(run, shared_dir / "data/mmdet3d/demo/data/nuscenes", [])
    assert outcome in found["result"]
    assert found["peak_gib"] < 16
