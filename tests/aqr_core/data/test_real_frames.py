"""Real nuScenes frames through the whole pipeline."""

from __future__ import annotations

import numpy as np

from aqr_core.data import NuScenesDataset, collate
from aqr_core.infos import build_infos

RANGE = (-54, -54, -5, 54, 54, 3)
PIPELINE = [
    dict(type="LoadPointsFromFile"),
    dict(type="LoadPointsFromMultiSweeps"),
    dict(type="LoadMultiViewImageFromFiles"),
    dict(type="LoadAnnotations3D"),
    dict(type="ObjectRangeFilter", point_cloud_range=RANGE),
    dict(type="ResizeCropFlipImage", data_aug_conf=dict(final_dim=(320, 800)), training=False),
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage"),
]


def test_demo_frame_becomes_a_batch(shared_dir):
    root = shared_dir / "data/mmdet3d/demo/data/nuscenes"
    dataset = NuScenesDataset(root, next(root.glob("*.pkl")), PIPELINE)
    batch = collate([dataset[0]])
    assert batch.images.shape == (1, 6, 3, 320, 800)
    assert batch.points[0].shape == (34_688, 5)
    assert batch.tokens == ["ca9a282c9e77460f8360f564131a8af5"]
    centres = batch.gt_boxes[0][:, :2].numpy()
    assert len(centres) == 52  # of 69: 54 lie in the range, one of them without a point, one without a class
    assert (np.abs(centres) < 54).all()
    assert set(batch.gt_labels[0].tolist()) <= set(range(10))


def test_scene_0523_becomes_batches(scene0523_root, tmp_path):
    infos = build_infos(scene0523_root, "v1.0-trainval", tmp_path, splits=["val"], require_files=False)["val"]
    dataset = NuScenesDataset(scene0523_root, infos, PIPELINE)
    assert len(dataset) == 12
    batch = collate([dataset[0], dataset[1]])
    assert batch.images.shape == (2, 6, 3, 320, 800)
    ages = [np.unique(points[:, 4].numpy()) for points in batch.points]
    assert [len(age) for age in ages] == [1, 2]  # the first keyframe is a sweep of the second
    assert abs(ages[1][1] - 0.5) < 0.01
