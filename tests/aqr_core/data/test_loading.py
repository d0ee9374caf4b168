from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from aqr_core.data import Frame, NuScenesDataset
from aqr_core.data.transforms import (
    LoadAnnotations3D,
    LoadMultiViewImageFromFiles,
    LoadPointsFromFile,
    LoadPointsFromMultiSweeps,
)
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import build_infos


@pytest.fixture
def frame(tiny_root, tmp_path) -> Frame:
    """The second keyframe, before any transform."""
    path = build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]
    return NuScenesDataset(tiny_root.path, path, [], test_mode=True).frame(1)


def test_points_have_age_instead_of_ring(frame):
    LoadPointsFromFile()(frame)
    assert frame.points.shape == (20, 5)
    assert frame.points.dtype == np.float32
    assert (frame.points[:, 4] == 0).all()


def test_sweeps_land_on_the_keyframe(frame):
    """The fence stands still, so after motion compensation all six sweeps show it at one place."""
    LoadPointsFromFile()(frame)
    key = frame.points.copy()
    LoadPointsFromMultiSweeps()(frame)
    clouds = frame.points.reshape(6, 20, 5)
    np.testing.assert_array_equal(clouds[0], key)
    np.testing.assert_allclose(clouds[..., :4], np.broadcast_to(key[:, :4], (6, 20, 4)), atol=1e-4)
    np.testing.assert_allclose(clouds[:, 0, 4], [0, 0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-6)


def test_the_newest_sweeps_at_test_and_random_ones_in_training(frame):
    def ages(test_mode, seed):
        frame.rng = np.random.default_rng(seed)
        LoadPointsFromFile()(frame)
        LoadPointsFromMultiSweeps(sweeps_num=2, test_mode=test_mode)(frame)
        return tuple(np.unique(frame.points[:, 4]).astype(float).round(3).tolist())

    assert ages(True, 0) == (0, 0.1, 0.2)
    drawn = {ages(False, seed) for seed in range(30)}
    assert len(drawn) > 5
    assert all(len(choice) == 3 for choice in drawn)
    assert ages(False, 3) == ages(False, 3)


def test_an_empty_point_file(frame):
    (frame.dataroot / frame.info.lidar.path).write_bytes(b"")
    LoadPointsFromFile()(frame)
    assert frame.points.shape == (0, 5)
    LoadPointsFromMultiSweeps()(frame)
    assert len(frame.points) == 100


def test_images_and_calibration(frame):
    LoadMultiViewImageFromFiles()(frame)
    assert [image.shape for image in frame.images] == [(32, 64, 3)] * 6
    for lidar2img, camera in zip(frame.lidar2img, frame.info.cameras.values(), strict=True):
        np.testing.assert_allclose(lidar2img, camera.lidar2img)


def test_an_image_of_another_size_is_refused(frame):
    path = frame.dataroot / frame.info.cameras["CAM_BACK"].path
    cv2.imwrite(str(path), np.zeros((16, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"samples/CAM_BACK/1\.jpg is 32x16 px, but its calibration is for 64x32"):
        LoadMultiViewImageFromFiles()(frame)


def test_a_missing_sweep(frame):
    (frame.dataroot / frame.info.sweeps[0].path).unlink()
    LoadPointsFromFile()(frame)
    with pytest.raises(DataError, match=r"sweeps/LIDAR_TOP/400000\.pcd\.bin does not exist"):
        LoadPointsFromMultiSweeps()(frame)


def boxes_with(frame, **changes):
    """Three boxes: a car with LiDAR points, a bus with radar points only, a cone without any."""
    gt = dataclasses.replace(
        frame.info.gt,
        boxes=np.tile([1.0, 2, 3, 4, 5, 6, 0.5, np.nan, np.nan], (3, 1)),
        labels=np.array([0, 3, 9]),
        num_lidar_pts=np.array([5, 0, 0]),
        num_radar_pts=np.array([0, 2, 0]),
        valid=np.array([True, True, False]),
        attributes=("",) * 3,
        instances=("",) * 3,
    )
    frame.info = dataclasses.replace(frame.info, gt=gt)
    return frame


@pytest.mark.parametrize(("keep", "labels"), [("lidar", [0]), ("valid", [0, 3]), ("all", [0, 3, 9])])
def test_which_boxes_are_kept(frame, keep, labels):
    frame = boxes_with(frame)
    LoadAnnotations3D(keep=keep)(frame)
    assert frame.gt_labels.tolist() == labels
    assert np.isnan(frame.gt_boxes[:, 7:]).all()


def test_unknown_velocity_may_be_zero(frame):
    frame = boxes_with(frame)
    LoadAnnotations3D(keep="all", zero_unknown_velocity=True)(frame)
    assert (frame.gt_boxes[:, 7:] == 0).all()
    assert np.isnan(frame.info.gt.boxes[:, 7:]).all()  # the info itself is left alone


def test_wrong_parameters():
    with pytest.raises(ConfigError, match="keep is 'some'"):
        LoadAnnotations3D(keep="some")
    with pytest.raises(ConfigError, match="sweeps_num is -1"):
        LoadPointsFromMultiSweeps(-1)
