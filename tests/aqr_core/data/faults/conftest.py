from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqr_core.data import Frame, NuScenesDataset
from aqr_core.data.faults import with_faults
from aqr_core.infos import build_infos
from aqr_core.synth import generate

SWEEPS = 3
ENTRY = dict(
    type="NuScenesDataset",
    pipeline=[
        dict(type="LoadPointsFromFile"),
        dict(type="LoadPointsFromMultiSweeps", sweeps_num=SWEEPS, test_mode=True),
        dict(type="LoadMultiViewImageFromFiles"),
        dict(type="LoadAnnotations3D", keep="all"),
        dict(type="PointsRangeFilter", point_cloud_range=[-32.0, -32.0, -5.0, 32.0, 32.0, 3.0]),
        dict(type="ResizeCropFlipImage", data_aug_conf=dict(final_dim=(128, 352)), training=False),
        dict(type="NormalizeMultiviewImage"),
        dict(type="PadMultiViewImage"),
    ],
)
LOADING = ENTRY["pipeline"][:4]

DatasetOf = Callable[..., NuScenesDataset]


@pytest.fixture(scope="session")
def infos_path(tmp_path_factory) -> Path:
    """Two synthetic scenes of six keyframes: 400x225 images, 32 beams."""
    data = generate(tmp_path_factory.mktemp("faults") / "tiny", 2, 7, workers=1)
    return build_infos(data.root, data.version, data.root)["mini_val"]


@pytest.fixture(scope="session")
def dataset_of(infos_path) -> DatasetOf:
    """Steps of faults -> the test set with them; the whole pipeline, or the loading alone."""

    def build(*steps: Mapping[str, Any], seed: int = 0, whole: bool = False) -> NuScenesDataset:
        entry = ENTRY if whole else {**ENTRY, "pipeline": LOADING}
        return NuScenesDataset(
            infos_path.parent, infos_path, with_faults(entry, steps, seed)["pipeline"], test_mode=True
        )

    return build


@pytest.fixture(scope="session")
def load(dataset_of) -> Callable[..., Frame]:
    """Steps of faults -> a keyframe (the fourth of its scene unless told) behind its loading."""

    def build(*steps: Mapping[str, Any], index: int = 3, seed: int = 0) -> Frame:
        dataset = dataset_of(*steps, seed=seed)
        frame = dataset.frame(index)
        dataset.pipeline(frame)
        return frame

    return build


@pytest.fixture(scope="session")
def raw_of(infos_path) -> Callable[[Frame], list[np.ndarray]]:
    """A frame -> the (P, 5) points of its keyframe's file and of its sweeps', as they are on disk."""

    def read(frame: Frame) -> list[np.ndarray]:
        paths = [frame.info.lidar.path, *(sweep.path for sweep in frame.info.sweeps[:SWEEPS])]
        return [np.fromfile(infos_path.parent / path, np.float32).reshape(-1, 5) for path in paths]

    return read
