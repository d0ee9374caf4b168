"""Our transforms beside mmdet3d's on one synthetic keyframe: the same files, the same drawn parameters.

Theirs work on float32 points and boxes, ours on float32 points and float64 boxes. A coordinate of up to 60 m is known
to 4e-6 m in float32, and a motion adds a few such errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS as THEIR_MODELS
from mmdet3d.registry import TRANSFORMS as THEIRS
from mmdet3d.structures import LiDARInstance3DBoxes

from aqr_core.data import NuScenesDataset
from aqr_core.data.frame import Frame
from aqr_core.data.transforms import (
    CustomRandomFlip3D,
    GlobalRotScaleTransAll,
    LoadAnnotations3D,
    LoadMultiViewImageFromFiles,
    LoadPointsFromFile,
    LoadPointsFromMultiSweeps,
    NormalizeMultiviewImage,
    ObjectNameFilter,
    ObjectRangeFilter,
    PadMultiViewImage,
    PointsRangeFilter,
)
from aqr_core.data.transforms.scene import move_scene
from aqr_core.infos import build_infos
from aqr_core.structures.boxes3d import YAW, bottom_to_gravity, gravity_to_bottom, wrap_angle
from aqr_core.synth import generate

METRES, RADIANS = 5e-5, 2e-6
RANGE = [-20.0, -15.0, -2.0, 20.0, 25.0, 2.0]
LOAD = dict(coord_type="LIDAR", load_dim=5, use_dim=5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> NuScenesDataset:
    root = tmp_path_factory.mktemp("parity") / "data"
    generate(root, 1, 5, workers=1, keyframes=3)
    infos = build_infos(root, "v1.0-mini", root, ["mini_train"])
    return NuScenesDataset(root, infos["mini_train"], [], test_mode=True)


@pytest.fixture
def frame(dataset: NuScenesDataset) -> Frame:
    """The last keyframe, which has past sweeps, with nothing loaded yet."""
    frame = dataset.frame(2, epoch=0)
    assert len(frame.info.sweeps) == 10 and len(frame.info.gt) > 5
    return frame


def results_of(frame: Frame) -> dict[str, Any]:
    """The keyframe as a record of mmdet3d's infos 1.1 reaches its transforms."""
    info, root = frame.info, Path(frame.dataroot)
    sweeps = []
    for sweep in info.sweeps:
        # Not the inverse, in spite of its name: their loader turns back by the transpose and subtracts the shift.
        lidar2sensor = np.eye(4)
        lidar2sensor[:3, :3] = sweep.sweep2lidar[:3, :3].T
        lidar2sensor[:3, 3] = -sweep.sweep2lidar[:3, 3]
        points = dict(lidar_path=str(root / sweep.path), lidar2sensor=lidar2sensor.tolist())
        sweeps.append(dict(timestamp=info.timestamp - sweep.age, lidar_points=points))
    images = {
        name: dict(img_path=str(root / camera.path), cam2img=camera.cam2img, lidar2cam=camera.lidar2cam)
        for name, camera in info.cameras.items()
    }
    return dict(
        lidar_points=dict(lidar_path=str(root / info.lidar.path)),
        timestamp=info.timestamp,
        lidar_sweeps=sweeps,
        images=images,
    )


def loaded(frame: Frame) -> dict[str, Any]:
    """Fills the frame with points and boxes, and returns the same for their transforms."""
    LoadPointsFromFile()(frame)
    LoadAnnotations3D(keep="all")(frame)
    frame.gt_boxes[np.isnan(frame.gt_boxes)] = 0.0
    LoadMultiViewImageFromFiles()(frame)
    results = THEIRS.build(dict(type="LoadPointsFromFile", **LOAD))(results_of(frame))
    results["points"].tensor[:, 4] = 0.0  # the ring of the file, which their loader of sweeps replaces
    boxes = torch.from_numpy(gravity_to_bottom(frame.gt_boxes)).float()
    results["gt_bboxes_3d"] = LiDARInstance3DBoxes(boxes, box_dim=9)
    results["gt_labels_3d"] = frame.gt_labels.copy()
    return results


def assert_same_scene(frame: Frame, results: dict[str, Any]) -> None:
    np.testing.assert_allclose(frame.points, results["points"].tensor.numpy(), atol=METRES, rtol=0)
    theirs = bottom_to_gravity(results["gt_bboxes_3d"].tensor.double().numpy())
    np.testing.assert_allclose(wrap_angle(frame.gt_boxes[:, YAW] - theirs[:, YAW]), 0, atol=RADIANS)
    ours, theirs = (np.delete(boxes, YAW, axis=1) for boxes in (frame.gt_boxes, theirs))
    np.testing.assert_allclose(ours, theirs, atol=METRES, rtol=0)
    assert np.array_equal(frame.gt_labels, results["gt_labels_3d"])


def test_points_of_the_keyframe(frame: Frame) -> None:
    LoadPointsFromFile()(frame)
    theirs = THEIRS.build(dict(type="LoadPointsFromFile", **LOAD))(results_of(frame))["points"].tensor.numpy()
    assert len(theirs) > 1000 and np.array_equal(frame.points[:, :4], theirs[:, :4])
    assert not frame.points[:, 4].any() and theirs[:, 4].any()  # ours is the age at once, theirs the ring for now


@pytest.mark.parametrize("sweeps_num", [3, 10, 20])
def test_past_sweeps(frame: Frame, sweeps_num: int) -> None:
    LoadPointsFromFile()(frame)
    LoadPointsFromMultiSweeps(sweeps_num, test_mode=True)(frame)
    results = THEIRS.build(dict(type="LoadPointsFromFile", **LOAD))(results_of(frame))
    theirs = THEIRS.build(
        dict(type="LoadPointsFromMultiSweeps", sweeps_num=sweeps_num, load_dim=5, use_dim=5, test_mode=True)
    )(results)["points"].tensor.numpy()
    assert frame.points.shape == theirs.shape
    np.testing.assert_allclose(frame.points[:, :4], theirs[:, :4], atol=METRES, rtol=0)
    # Timestamps of 1.5e9 s are known to 2e-7 s, even in float64.
    np.testing.assert_allclose(frame.points[:, 4], theirs[:, 4], atol=1e-6)
    assert len(np.unique(frame.points[:, 4])) == min(sweeps_num, 10) + 1


def test_sweeps_that_training_chooses_at_random_stay_in_order_in_ours(frame: Frame) -> None:
    """On purpose: theirs appends them in the order of the draw; which points count in a full voxel depends on it."""
    LoadPointsFromFile()(frame)
    LoadPointsFromMultiSweeps(4)(frame)
    ages = frame.points[np.flatnonzero(np.diff(frame.points[:, 4], prepend=-1)), 4]
    assert len(ages) == 5 and (np.diff(ages) > 0).all()
    np.random.seed(3)
    results = THEIRS.build(dict(type="LoadPointsFromFile", **LOAD))(results_of(frame))
    step = dict(type="LoadPointsFromMultiSweeps", sweeps_num=4, load_dim=5, use_dim=5)
    theirs = THEIRS.build(step)(results)["points"].tensor.numpy()[:, 4]
    theirs = theirs[np.flatnonzero(np.diff(theirs, prepend=-1))]
    assert len(theirs) == 5 and not (np.diff(theirs) > 0).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rotation_scale_and_shift(frame: Frame, seed: int) -> None:
    results = loaded(frame)
    np.random.seed(seed)
    ranges = dict(rot_range=[-0.8, 0.8], scale_ratio_range=[0.9, 1.1], translation_std=[0.5, 0.5, 0.2])
    results = THEIRS.build(dict(type="GlobalRotScaleTrans", **ranges))(results)
    angle, scale = results["pcd_rotation_angle"], results["pcd_scale_factor"]
    drawn = iter([angle, scale])
    transform = GlobalRotScaleTransAll(**ranges)

    class Drawn:
        """A generator that gives what theirs has drawn."""

        def uniform(self, low: float, high: float) -> float:
            return next(drawn)

        def normal(self, mean: float, std: np.ndarray) -> np.ndarray:
            return results["pcd_trans"]

    before = frame.lidar2img.copy(), frame.points[:50, :3].copy()
    frame.rng = Drawn()
    transform(frame)
    assert_same_scene(frame, results)
    # What theirs leaves to the model: the cameras, which ours moves along.
    for camera, moved in zip(before[0], frame.lidar2img, strict=True):
        homogeneous = np.concatenate([before[1], np.ones((50, 1))], axis=1) @ camera.T
        again = np.concatenate([frame.points[:50, :3], np.ones((50, 1))], axis=1) @ moved.T
        np.testing.assert_allclose(again[:, :3], homogeneous[:, :3], atol=2e-2)  # pixels times metres


@pytest.mark.parametrize(("horizontal", "vertical"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_mirroring(frame: Frame, horizontal: float, vertical: float) -> None:
    ratios = dict(flip_ratio_bev_horizontal=horizontal, flip_ratio_bev_vertical=vertical)
    results = THEIRS.build(dict(type="RandomFlip3D", sync_2d=False, **ratios))(loaded(frame))
    CustomRandomFlip3D(**ratios)(frame)
    assert_same_scene(frame, results)


def test_filters_by_range(frame: Frame) -> None:
    results = loaded(frame)
    everything = len(frame.points), len(frame.gt_boxes)
    for name, ours in (("PointsRangeFilter", PointsRangeFilter), ("ObjectRangeFilter", ObjectRangeFilter)):
        results = THEIRS.build(dict(type=name, point_cloud_range=RANGE))(results)
        ours(RANGE)(frame)
    assert 0 < len(frame.points) < everything[0] and 0 < len(frame.gt_boxes) < everything[1]
    assert_same_scene(frame, results)
    assert np.abs(results["gt_bboxes_3d"].yaw).max() <= np.float32(np.pi)


def test_a_yaw_of_several_turns_is_wrapped_alike_by_the_filter(frame: Frame) -> None:
    results = loaded(frame)
    frame.gt_boxes[:, YAW] += 7.0
    results["gt_bboxes_3d"].tensor[:, 6] += 7.0
    results = THEIRS.build(dict(type="ObjectRangeFilter", point_cloud_range=RANGE))(results)
    ObjectRangeFilter(RANGE)(frame)
    np.testing.assert_allclose(frame.gt_boxes[:, YAW], results["gt_bboxes_3d"].yaw.numpy(), atol=5e-6)


def test_filter_by_name(frame: Frame) -> None:
    results = loaded(frame)
    first = frame.classes[: int(np.median(frame.gt_labels)) + 1]
    results = THEIRS.build(dict(type="ObjectNameFilter", classes=list(first)))(results)
    before = len(frame.gt_boxes)
    ObjectNameFilter(first)(frame)
    assert 0 < len(frame.gt_boxes) < before
    assert_same_scene(frame, results)


def test_filter_by_a_name_that_is_not_the_first(frame: Frame) -> None:
    """On purpose: ours keeps the class that is named, theirs the classes whose labels are below the number of names."""
    results = loaded(frame)
    last = int(frame.gt_labels.max())
    assert last > 0
    ObjectNameFilter([frame.classes[last]])(frame)
    theirs = THEIRS.build(dict(type="ObjectNameFilter", classes=[frame.classes[last]]))(results)
    assert set(frame.gt_labels) == {last} and set(theirs["gt_labels_3d"]) <= {0}


@pytest.mark.parametrize("divisor", [1, 32])
def test_images_loaded_normalised_and_padded(frame: Frame, divisor: int) -> None:
    mean, std = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
    LoadMultiViewImageFromFiles()(frame)
    results = results_of(frame)
    results = THEIRS.build(dict(type="LoadMultiViewImageFromFiles", to_float32=True, num_views=6))(results)
    assert all(np.array_equal(a, b) for a, b in zip(frame.images, results["img"], strict=True))
    assert frame.images[0].dtype == np.uint8 and results["img"][0].dtype == np.float32
    np.testing.assert_array_equal(frame.cam2img[:, :3, :3], np.stack(results["cam2img"]))
    np.testing.assert_array_equal(frame.lidar2cam, np.stack(results["lidar2cam"]))
    NormalizeMultiviewImage(mean, std)(frame)
    PadMultiViewImage(divisor)(frame)
    ours = frame.to_sample(0).images
    preprocess = THEIR_MODELS.build(dict(type="Det3DDataPreprocessor", mean=mean, std=std, pad_size_divisor=divisor))
    images = torch.from_numpy(np.stack(results["img"]).transpose(0, 3, 1, 2))
    theirs = preprocess(dict(inputs=dict(img=[images]), data_samples=None))["inputs"]["imgs"][0]
    assert ours.shape == theirs.shape and ours.shape[-1] % divisor == 0
    assert torch.equal(ours, theirs)


def test_a_scene_moved_by_hand_is_the_scene_moved_by_theirs(frame: Frame) -> None:
    """Flip, then rotation: the order of CMT's pipeline, in one matrix of ours."""
    results = loaded(frame)
    results = THEIRS.build(dict(type="RandomFlip3D", sync_2d=False, flip_ratio_bev_horizontal=1.0))(results)
    rotation = dict(rot_range=[0.3, 0.3], scale_ratio_range=[1.0, 1.0], translation_std=[0, 0, 0])
    results = THEIRS.build(dict(type="GlobalRotScaleTrans", **rotation))(results)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    move_scene(frame, turn @ np.diag([1.0, -1.0, 1.0, 1.0]))
    assert_same_scene(frame, results)
