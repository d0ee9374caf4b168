"""The full-size datasets of `_base_/datasets`: their steps, and a real keyframe through each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aqr_train.configs
from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.errors import DataError
from aqr_train.assembly import build_dataset

FOLDER = Path(aqr_train.configs.__path__[0]) / "_base_/datasets"
# Name -> batch, image (height, width) or None, whether there are points, the step that pastes objects.
DATASETS: dict[str, tuple[int, tuple[int, int] | None, bool, str | None]] = {
    "nus_fusion_800x320": (4, (320, 800), True, "UnifiedObjectSample"),
    "nus_fusion_1600x640": (2, (640, 1600), True, "UnifiedObjectSample"),
    "nus_lidar": (2, None, True, "ObjectSample"),
    "nus_camera_1600x640": (2, (640, 1600), False, None),
}
FUSION = [  # upstream's order, but for the failing sensors, which upstream draws behind the pasting
    "ModalMask3D",
    "LoadPointsFromFile",
    "LoadPointsFromMultiSweeps",
    "LoadMultiViewImageFromFiles",
    "LoadAnnotations3D",
    "UnifiedObjectSample",
    "GlobalRotScaleTransAll",
    "CustomRandomFlip3D",
    "PointsRangeFilter",
    "ObjectRangeFilter",
    "ObjectNameFilter",
    "PointShuffle",
    "ResizeCropFlipImage",
    "NormalizeMultiviewImage",
    "PadMultiViewImage",
]


def types(dataset: dict[str, Any]) -> list[str]:
    return [step["type"] for step in dataset["pipeline"]]


@pytest.fixture
def keyframe(shared_dir: Path) -> dict[str, Any]:
    """Where the real keyframe lies, as arguments of a dataset."""
    root = shared_dir / "data/mmdet3d/demo/data/nuscenes"
    return {"dataroot": str(root), "infos": next(root.glob("*.pkl")).name}


def test_steps_of_the_fusion_dataset() -> None:
    data = load_config(FOLDER / "nus_fusion_800x320.py").data
    assert types(data.train) == FUSION
    assert types(data.val) == FUSION[1:4] + FUSION[-3:]
    [paste] = [step for step in data.train.pipeline if step.type == "UnifiedObjectSample"]
    assert paste.until_epoch == 15 and paste.mixup_rate == 0.5
    assert sum(paste.db_sampler.sample_groups.values()) == 40
    assert set(paste.db_sampler.filter_by_min_points.values()) == {5}


def test_datasets_differ_as_their_names_say() -> None:
    small, large = (load_config(FOLDER / f"nus_fusion_{size}.py").data for size in ("800x320", "1600x640"))
    for part in ("train", "val"):
        for a, b in zip(small[part].pipeline, large[part].pipeline, strict=True):
            if a.type == "ResizeCropFlipImage":
                limits = {"800x320": (0.47, 0.625), "1600x640": (0.94, 1.25)}
                assert (a.data_aug_conf.resize_lim, b.data_aug_conf.resize_lim) == tuple(limits.values())
            else:
                assert a == b
    lidar, camera = (types(load_config(FOLDER / f"{name}.py").data.train) for name in list(DATASETS)[2:])
    assert not any("Image" in name or "View" in name for name in lidar)
    assert not any("Point" in name or "Sweeps" in name for name in camera)


@pytest.mark.parametrize("name", DATASETS)
def test_a_real_keyframe_becomes_a_batch(name: str, keyframe: dict[str, Any]) -> None:
    batch_size, image, has_points, paste = DATASETS[name]
    config = load_config(FOLDER / f"{name}.py")
    assert config.data.batch_size == batch_size
    for step in config.data.train.pipeline:
        if step.type == paste:
            step.until_epoch = 0  # as a user does who has no database
    train = build_dataset(config, {**config.data.train, **keyframe}, seed=0, test_mode=False)
    val = build_dataset(config, {**config.data.val, **keyframe}, seed=0, test_mode=True)
    assert (len(train), len(val)) == (8, 1)  # eight classes are annotated, and each lends the one keyframe
    for sample in (train[0], val[0]):
        assert sample.images.shape == ((6, 3, *image) if image else (0, 3, 0, 0))
        assert (len(sample.points) > 0) == has_points
        assert sample.lidar2img.shape == ((6, 4, 4) if image else (0, 4, 4))
    assert len(train[0].gt_boxes) > 20 and not torch.isnan(train[0].gt_boxes).any()
    assert not torch.equal(train[0].gt_boxes[0], train[1].gt_boxes[0])  # one keyframe, augmented twice
    batch = collate([train[0], train[1]])
    assert batch.images.shape[:2] == (2, 6 if image else 0)
    assert np.isfinite(batch.lidar2img.numpy()).all()


@pytest.mark.parametrize("name", [name for name, (_, _, _, paste) in DATASETS.items() if paste])
def test_a_missing_object_database_is_named_with_the_command(name: str, keyframe: dict[str, Any]) -> None:
    config = load_config(FOLDER / f"{name}.py")
    with pytest.raises(DataError, match="gt_database_train; build it with `aqr prepare --gt-database`"):
        build_dataset(config, {**config.data.train, **keyframe}, seed=0, test_mode=False)
    index = types(config.data.train).index(DATASETS[name][3] or "")
    assert f"data.train.pipeline.{index}.until_epoch=0" in (FOLDER / f"{name}.py").read_text() + (
        (FOLDER / "nus_fusion_800x320.py").read_text() if name != "nus_lidar" else ""
    )
