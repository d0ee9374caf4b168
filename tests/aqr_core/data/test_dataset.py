from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from aqr_core.data import NuScenesDataset, collate
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import build_infos
from aqr_core.registry import DATASETS, build

RANGE = (-54, -54, -5, 54, 54, 3)
PIPELINE = [
    dict(type="LoadPointsFromFile"),
    dict(type="LoadPointsFromMultiSweeps", sweeps_num=3),
    dict(type="LoadMultiViewImageFromFiles"),
    dict(type="LoadAnnotations3D"),
    dict(type="GlobalRotScaleTransAll"),
    dict(type="CustomRandomFlip3D"),
    dict(type="PointsRangeFilter", point_cloud_range=RANGE),
    dict(type="ObjectRangeFilter", point_cloud_range=RANGE),
    dict(type="PointShuffle"),
    dict(type="ResizeCropFlipImage", data_aug_conf=dict(resize_lim=(0.9, 1.2), final_dim=(30, 60), rand_flip=True)),
    dict(type="RandomImageGain"),
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage"),
]


@pytest.fixture
def infos(tiny_root, tmp_path):
    return build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]


@pytest.fixture
def dataset(tiny_root, infos):
    return NuScenesDataset(tiny_root.path, infos, PIPELINE, seed=7)


def fields(sample):
    return (sample.points, sample.images, sample.lidar2img, sample.gt_boxes, sample.gt_labels)


def same(a, b) -> bool:
    equal = (torch.equal(x.nan_to_num(99), y.nan_to_num(99)) for x, y in zip(fields(a), fields(b), strict=True))
    return a.token == b.token and a.seed == b.seed and all(equal)


def test_a_sample(dataset):
    sample = dataset[1]
    assert sample.token == "sample1"
    assert sample.points.dtype == torch.float32 and sample.points.shape[1] == 5
    assert sample.images.shape == (6, 3, 32, 64) and sample.images.dtype == torch.float32
    assert sample.images.is_contiguous()
    assert sample.lidar2img.shape == (6, 4, 4) and sample.lidar2img.dtype == torch.float64
    assert sample.gt_boxes.shape == (1, 9) and sample.gt_labels.tolist() == [0]


def test_a_batch(dataset):
    batch = collate([dataset[0], dataset[1]])
    assert batch.tokens == ["sample0", "sample1"]
    assert batch.images.shape == (2, 6, 3, 32, 64)
    assert batch.lidar2img.shape == (2, 6, 4, 4)
    assert [len(boxes) for boxes in batch.gt_boxes] == [1, 1]
    assert len(set(batch.seeds)) == 2
    assert batch.pad_shape == (32, 64)


def test_randomness_depends_on_seed_epoch_and_index_alone(tiny_root, infos, dataset):
    again = NuScenesDataset(tiny_root.path, infos, PIPELINE, seed=7)
    first = dataset[1]
    dataset[0]
    assert same(first, again[1])
    assert same(first, again[-1])
    again.set_epoch(1)
    assert not same(first, again[1])
    again.set_epoch(0)
    assert same(first, again[1])
    assert not same(first, NuScenesDataset(tiny_root.path, infos, PIPELINE, seed=8)[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_samples(dataset, workers):
    loader = DataLoader(dataset, batch_size=1, num_workers=workers, collate_fn=lambda x: x[0], persistent_workers=True)
    for epoch in (0, 1):  # a new epoch reaches workers that are already running
        dataset.set_epoch(epoch)
        for index, sample in enumerate(loader):
            assert same(sample, dataset[index])


def test_frames_without_boxes_are_left_out_in_training_only(tiny_root, tmp_path):
    tiny_root.tables["sample_annotation"] = [
        {**row, "prev": "", "next": ""} for row in tiny_root.tables["sample_annotation"] if row["token"] != "n1"
    ]
    tiny_root.write()
    infos = build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]
    train = NuScenesDataset(tiny_root.path, infos, PIPELINE)
    assert [sample.token for sample in (train[i] for i in range(len(train)))] == ["sample0"]
    test = NuScenesDataset(tiny_root.path, infos, PIPELINE, test_mode=True)
    assert len(test) == 2
    assert test[1].gt_boxes.shape == (0, 9)
    with pytest.raises(DataError, match="None of the 2 keyframes .* has a box with points in it"):
        NuScenesDataset(tiny_root.path, infos, PIPELINE, classes=["bus"])


def test_class_balance_repeats_keyframes_with_their_own_augmentation(tiny_root, infos):
    """Both keyframes hold a car, the first a barrier too: three in two classes, so each class lends one keyframe."""
    balanced = dict(seed=3, class_balanced=True, classes=["car", "barrier"])
    dataset = NuScenesDataset(tiny_root.path, infos, PIPELINE, **balanced)
    assert len(dataset) == 2
    assert dataset[1].token == "sample0"
    assert same(dataset[0], NuScenesDataset(tiny_root.path, infos, PIPELINE, **balanced)[0])

    of_cars = [
        NuScenesDataset(tiny_root.path, infos, PIPELINE, seed=seed, class_balanced=True, classes=["car"])
        for seed in range(8)
    ]
    drawn = [(cars.info(0).token, cars.info(1).token) for cars in of_cars]
    assert len(set(drawn)) > 1
    twice = next(cars for cars, (first, second) in zip(of_cars, drawn, strict=True) if first == second)
    assert not same(twice[0], twice[1])

    with pytest.raises(ConfigError, match="class_balanced resamples the keyframes, test_mode keeps each once"):
        NuScenesDataset(tiny_root.path, infos, PIPELINE, class_balanced=True, test_mode=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_step_ends_with_its_epoch_in_running_workers_too(tiny_root, infos, workers):
    """The mask stands for the objects that are pasted in the first epochs only."""
    steps = [PIPELINE[0], PIPELINE[3], dict(type="ModalMask3D", mask_modal="points", until_epoch=2)]
    dataset = NuScenesDataset(tiny_root.path, infos, steps)
    loader = DataLoader(
        dataset,
        batch_size=1,
        num_workers=workers,
        collate_fn=lambda x: x[0],
        persistent_workers=workers > 0,
    )
    for epoch in (0, 1, 2, 3, 1):
        dataset.set_epoch(epoch)
        for sample in loader:
            assert bool(sample.points.any()) == (epoch >= 2)


def test_labels_count_in_the_dataset_s_classes(tiny_root, infos):
    pipeline = [dict(type="LoadAnnotations3D", keep="all")]
    dataset = NuScenesDataset(tiny_root.path, infos, pipeline, classes=["bus", "barrier"], test_mode=True)
    assert dataset[0].gt_labels.tolist() == [1]
    with pytest.raises(ConfigError, match="Class 'tram' is not among those of"):
        NuScenesDataset(tiny_root.path, infos, pipeline, classes=["tram"])


def test_a_pipeline_may_leave_a_sensor_out(tiny_root, infos):
    lidar_only = NuScenesDataset(tiny_root.path, infos, [PIPELINE[0]])
    batch = collate([lidar_only[0], lidar_only[1]])
    assert batch.images.shape == (2, 0, 3, 0, 0)
    assert len(batch.points[0]) == 20
    camera_only = NuScenesDataset(tiny_root.path, infos, [PIPELINE[2]])[0]
    assert camera_only.points.shape == (0, 5)
    assert camera_only.images.shape == (6, 3, 32, 64)


def test_built_by_name(tiny_root, infos):
    config = dict(type="NuScenesDataset", infos=str(infos), pipeline=PIPELINE)
    assert len(build(config, DATASETS, dataroot=str(tiny_root.path))) == 2
    with pytest.raises(ConfigError, match="Did you mean 'PointShuffle'"):
        build(dict(config, pipeline=[dict(type="PointsShuffle")]), DATASETS, dataroot=str(tiny_root.path))
    with pytest.raises(ConfigError, match="Did you mean 'pipeline'"):
        build(dict(config, pipelines=[]), DATASETS, dataroot=str(tiny_root.path))


def test_images_of_different_sizes(tiny_root, infos, dataset):
    unpadded = NuScenesDataset(tiny_root.path, infos, PIPELINE[:-1])
    with pytest.raises(ConfigError, match="images of shapes.*add ResizeCropFlipImage"):
        collate([dataset[0], unpadded[0]])


def crop_one(frame):
    frame.images[0] = frame.images[0][:8]


def test_cameras_of_different_sizes(tiny_root, infos):
    dataset = NuScenesDataset(tiny_root.path, infos, [PIPELINE[2], crop_one])
    with pytest.raises(ConfigError, match=r"different sizes .* for sample 'sample0'; add ResizeCropFlipImage"):
        dataset[0]


def test_the_same_object_is_seen_in_both_modalities(dataset):
    """After all augmentation the car's box still projects where its points do: nothing moved alone."""
    frame = dataset.frame(0)
    car = frame.info.gt.boxes[0, :3].copy()
    (frame.dataroot / frame.info.lidar.path).write_bytes(np.array([*car, 1, 0], np.float32).tobytes())
    sample = dataset[0]
    point = sample.points[sample.points[:, 4] == 0][0, :3].double()
    assert (point - sample.gt_boxes[0, :3].double()).abs().max() < 1e-4
