"""What a detector sees of a blank sensor, through the real pipeline and the real voxeliser."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aqr_core.data import Frame, NuScenesDataset, collate
from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.build import build_object_database
from aqr_core.data.transforms import ModalMask3D, UnifiedObjectSample
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import build_infos, open_infos
from aqr_core.models.voxel.vfe import HardSimpleVFE
from aqr_core.models.voxel.voxelize import HardVoxelize
from aqr_core.registry import TRANSFORMS, build

RANGE = (-54, -54, -5, 54, 54, 3)
LOAD = [
    dict(type="LoadPointsFromFile"),
    dict(type="LoadPointsFromMultiSweeps"),
    dict(type="LoadMultiViewImageFromFiles"),
]
AUGMENT = [
    dict(type="GlobalRotScaleTransAll"),
    dict(type="CustomRandomFlip3D"),
    dict(type="PointsRangeFilter", point_cloud_range=RANGE),
    dict(type="PointShuffle"),
]
IMAGE_AUG = dict(final_dim=(16, 40), resize_lim=(0.6, 0.9), rand_flip=True)
FINISH = [
    dict(type="ResizeCropFlipImage", data_aug_conf=dict(final_dim=(32, 64)), training=False),
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage"),
]


@pytest.fixture
def sample_of(tiny_root, tmp_path):
    """Steps behind the loading -> the second keyframe's sample and the scene's motion."""
    infos = build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]

    def load(*steps):
        dataset = NuScenesDataset(tiny_root.path, infos, [*LOAD, *steps, *FINISH], seed=1)
        frame = dataset.frame(1)
        cameras = list(frame.info.cameras.values())
        sample = dataset[1]
        cam2img = np.eye(4)
        cam2img[:3, :3] = cameras[0].cam2img
        lidar2cam = np.linalg.inv(cam2img) @ sample.lidar2img[0].numpy()
        return sample, np.linalg.inv(lidar2cam) @ cameras[0].lidar2cam  # original -> augmented LiDAR frame

    return load


def test_blank_images_are_minus_mean_over_std(sample_of):
    sample, _ = sample_of(dict(type="ModalMask3D", mask_modal="image"))
    black = torch.tensor([-103.530 / 57.375, -116.280 / 57.120, -123.675 / 58.395])
    assert torch.allclose(sample.images, black.reshape(1, 3, 1, 1).expand(6, 3, 32, 64))
    assert len(sample.points) == 120 and sample.points.abs().sum() > 0


def test_blank_points_are_one_voxel_where_the_origin_went(sample_of):
    for steps in ([], AUGMENT):
        sample, motion = sample_of(dict(type="ModalMask3D", mask_modal="points"), *steps)
        voxels = HardVoxelize((0.1, 0.1, 0.2), RANGE)(sample.points)
        features = HardSimpleVFE(5)(voxels)
        assert len(sample.points) == 120 and len(voxels) == 1 and len(voxels.points) == 10
        np.testing.assert_allclose(features[0], [*motion[:3, 3], 0, 0], atol=1e-5)
        assert sample.images.std() > 0.1
    cell = np.floor((motion[:3, 3] - RANGE[:3]) / (0.1, 0.1, 0.2))  # x, y, z
    assert voxels.coords[0].tolist() == cell[::-1].tolist()
    assert np.abs(motion[:3, 3]).max() > 0.1


def test_where_the_draw_falls(new_frame):
    outcomes = []
    for draw in (0.0, 0.5, 0.51, 0.75, 0.76):
        frame = new_frame(0)
        frame.rng = SimpleNamespace(uniform=lambda value=draw: value)
        ModalMask3D("train")(frame)
        outcomes.append((bool(frame.points.any()), bool(frame.images[0].any())))
    clean, no_points, no_images = (True, True), (False, True), (True, False)
    assert outcomes == [clean, clean, no_points, no_points, no_images]
    mask = ModalMask3D("train")
    drawn = [mask._draw(rng) for rng in map(np.random.default_rng, range(4000))]
    assert abs(drawn.count(None) - 2000) < 150
    assert abs(drawn.count("image") - 1000) < 120


def test_the_batch_says_which_sensors_work(sample_of):
    masks = [[dict(type="ModalMask3D", mask_modal=modality)] for modality in ("image", "points")]
    batch = collate([sample_of(*steps)[0] for steps in ([], *masks, masks[0] + masks[1])])
    assert batch.working.tolist() == [[True, True], [True, False], [False, True], [False, False]]  # LiDAR, cameras


def reseed(frame: Frame) -> None:
    """A step that makes the draws of the next one independent of what was drawn before it."""
    frame.rng = np.random.default_rng(5)


@pytest.mark.parametrize("modality", ["image", "points"])
def test_masking_first_gives_the_same_input_as_masking_behind_the_loading_and_pasting(tiny_root, tmp_path, modality):
    infos = build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]
    build_object_database(tiny_root.path, infos, tiny_root.path / "gt_database_mini_val", workers=1)
    database = ObjectDatabase.open(tiny_root.path / "gt_database_mini_val")
    groups = {name: 9 for name in database.classes}
    paste = dict(type="UnifiedObjectSample", db_sampler=dict(database="gt_database_{split}", sample_groups=groups))
    mask = ModalMask3D(mask_modal=modality)
    load = [*LOAD, dict(type="LoadAnnotations3D", keep="all"), paste]
    train = [*AUGMENT, dict(type="ResizeCropFlipImage", data_aug_conf=IMAGE_AUG), *FINISH[1:]]
    frames, samples = [], []
    for steps in ([mask, *load], [*load, mask]):
        steps = [part for step in (*steps, *train) for part in (reseed, step)]
        dataset = NuScenesDataset(tiny_root.path, infos, steps, seed=1)
        for transform in dataset.pipeline:
            if isinstance(transform, UnifiedObjectSample):  # all objects fit, the annotated ones being elsewhere
                transform.sampler.database.boxes = transform.sampler.database.boxes + np.eye(9)[0] * 4
        frame = dataset.frame(1)
        dataset.pipeline(frame)
        frames.append(frame)
        samples.append(frame.to_sample(0))
    first, behind = samples
    assert len(first.gt_boxes) > len(frames[0].info.gt)  # objects were pasted
    assert len(first.points) < len(behind.points) or modality == "image"
    for name in ("images", "lidar2img", "gt_boxes", "gt_labels"):
        assert torch.equal(getattr(first, name), getattr(behind, name)), name
    a, b = (HardVoxelize((0.1, 0.1, 0.2), RANGE)(sample.points) for sample in samples)
    assert torch.equal(a.coords, b.coords) and torch.equal(HardSimpleVFE(5)(a), HardSimpleVFE(5)(b))
    assert torch.equal(first.points, behind.points) or modality == "points"


def test_nothing_blank_is_decoded(tiny_root, tmp_path):
    """Damaged files of a failing sensor are noticed only where their size or number is needed."""
    infos = build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]
    info = open_infos(infos)[1]
    for path in (*(camera.path for camera in info.cameras.values()), *(sweep.path for sweep in info.sweeps)):
        (tiny_root.path / path).write_bytes(b"no")

    def load(modality):
        frame = Frame(info, tiny_root.path, np.random.default_rng(0))
        for transform in (ModalMask3D(mask_modal=modality), *(build(step, TRANSFORMS) for step in LOAD)):
            transform(frame)

    with pytest.raises(DataError, match="2 bytes"):
        load("image")  # the sweeps
    with pytest.raises(DataError, match="2 bytes"):
        load("points")  # the images
    for sweep in info.sweeps:
        (tiny_root.path / sweep.path).write_bytes(b"")
    load("image")
    cameras = {name: replace(camera, width=None, height=None) for name, camera in info.cameras.items()}
    info = replace(info, cameras=cameras)
    with pytest.raises(DataError, match="2 bytes"):
        load("image")


def test_a_missing_sensor_stays_missing(new_frame):
    frame = new_frame(0)
    frame.images, frame.points = [], frame.points[:0]
    for modality in ("image", "points"):
        ModalMask3D(mask_modal=modality)(frame)
    assert frame.images == [] and frame.points.shape == (0, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(mode="val"), "mode is 'val'"),
        (dict(mode="test"), "mask_modal is None; mode 'test' needs 'image' or 'points'"),
        (dict(mode="test", mask_modal="lidar"), "mask_modal is 'lidar'"),
        (dict(mode="train", mask_modal="image"), "draws what to blank"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ModalMask3D(**arguments)
