from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.data.database.extract import accumulate_sweeps, cut_crops, extract_objects, points_of_boxes
from aqr_core.data.frame import Frame
from aqr_core.infos import GroundTruth, Info, LidarInfo, SweepInfo
from aqr_core.structures.boxes3d import points_in_boxes

CAM2IMG = np.array([[100.0, 0, 80, 0], [0, 100, 45, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
AHEAD = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # at the LiDAR, looks along its y
BACK_OFF = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 5], [0, 0, 0, 1]])  # the same from five metres behind
LABELS = np.arange(10)


def _box(x: float, y: float, size: tuple[float, float, float] = (4, 2, 2), yaw: float = 0.0) -> np.ndarray:
    return np.array([x, y, 0, *size, yaw, 1, 2], np.float64)


def _info(root: Path, boxes: np.ndarray, points: np.ndarray, sweeps: tuple[SweepInfo, ...] = ()) -> Info:
    """A keyframe with these boxes, all of them cars, and these points in `points.bin`."""
    points.astype("<f4").tofile(root / "points.bin")
    count = len(boxes)
    nothing = np.zeros(count, np.int64)
    gt = GroundTruth(
        boxes, nothing, nothing, nothing, ("",) * count, np.ones(count, bool), tuple(f"i{k}" for k in range(count))
    )
    return Info("token", "", 0.0, "", "", np.eye(4), LidarInfo("points.bin", np.eye(4)), sweeps, {}, gt)


@given(st.integers(0, 2**32))
def test_the_sieve_loses_no_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform((-60, -60, -2, 0.3, 0.3, 0.5, -4, 0, 0), (60, 60, 2, 12, 4, 4, 4, 1, 1), (12, 9))
    points = rng.uniform((-70, -70, -4, 0, 0), (70, 70, 4, 255, 0.5), (2000, 5)).astype(np.float32)
    points[:600, :3] = np.repeat(boxes[:, :3], 50, axis=0) + rng.uniform(-2, 2, (600, 3))
    inside = points_in_boxes(points, boxes)
    clouds = points_of_boxes(points, boxes)
    for cloud, box, own in zip(clouds, boxes, inside.T, strict=True):
        assert cloud.dtype == np.float32
        np.testing.assert_array_equal(cloud[:, 3:], points[own, 3:])
        np.testing.assert_allclose(cloud[:, :3] + box[:3], points[own, :3], atol=1e-5)


def test_returns_of_the_vehicle_itself_stay_out_of_sweeps_only(tmp_path: Path) -> None:
    close, far = [0.5, -0.5, 0, 9, 31], [0.5, 1.0, 0, 8, 31]
    points = np.array([close, far], np.float32)
    points.tofile(tmp_path / "sweep.bin")
    moved = np.eye(4)
    moved[:3, 3] = 0, -5, 0
    info = _info(tmp_path, np.zeros((0, 9)), points, (SweepInfo("sweep.bin", 0.5, moved),) * 3)
    expected = [[0.5, -0.5, 0, 9, 0], [0.5, 1, 0, 8, 0], [0.5, -4, 0, 8, 0.5], [0.5, -4, 0, 8, 0.5]]
    np.testing.assert_allclose(accumulate_sweeps(tmp_path, info, 2), expected)


def test_objects_without_points_or_of_no_use_are_left_out(tmp_path: Path) -> None:
    boxes = np.stack([_box(0, 10), _box(0, 20), _box(0, 30)])
    points = np.array([[1, 10.5, 0.25, 7, 3], [0, 30, 0, 7, 3]], np.float32)
    info = _info(tmp_path, boxes, points)
    objects = extract_objects(tmp_path, info, LABELS, 10, with_images=False)
    assert objects.instances == ("i0", "i2") and objects.images == [b"", b""]
    np.testing.assert_array_equal(objects.points[0], np.array([[1, 0.5, 0.25, 7, 0]], np.float32))
    np.testing.assert_array_equal(objects.boxes, boxes[[0, 2]])
    info.gt.valid[0] = False
    assert extract_objects(tmp_path, info, LABELS, 10, with_images=False).instances == ("i2",)
    assert len(extract_objects(tmp_path, info, LABELS - 1, 10, with_images=False).labels) == 0  # cars are left out


def _crops(boxes: np.ndarray, images: list[np.ndarray], cameras: list[np.ndarray]) -> list[np.ndarray | None]:
    """Decoded crops of cameras of one intrinsic matrix."""
    frame = Frame(_no_info(), Path(), np.random.default_rng(0), images=images)
    frame.cam2img, frame.lidar2cam = np.stack([CAM2IMG] * len(cameras)), np.stack(cameras)
    return [cv2.imdecode(np.frombuffer(crop, np.uint8), 1) if crop else None for crop in cut_crops(frame, boxes)]


def _no_info() -> Info:
    gt = GroundTruth(np.zeros((0, 9)), LABELS[:0], LABELS[:0], LABELS[:0], (), np.zeros(0, bool), ())
    return Info("", "", 0.0, "", "", np.eye(4), LidarInfo("", np.eye(4)), (), {}, gt)


def test_a_crop_is_the_rectangle_of_the_corners() -> None:
    u, v = np.meshgrid(np.arange(160), np.arange(90))
    image = np.stack([u, v, np.full_like(u, 50)], axis=-1).astype(np.uint8)
    # Two metres wide and high, its near face ten metres ahead: 80 +- 10 px by 45 +- 10 px.
    (crop,) = _crops(_box(0, 11, (2, 2, 2))[None], [image], [AHEAD])
    assert crop is not None
    np.testing.assert_allclose(crop, image[35:55, 70:90], atol=3)  # JPEG


def test_the_largest_crop_wins_and_not_the_last() -> None:
    dark, light = np.full((90, 160, 3), 20, np.uint8), np.full((90, 160, 3), 200, np.uint8)
    for cameras, images in (([AHEAD, BACK_OFF], [light, dark]), ([BACK_OFF, AHEAD], [dark, light])):
        (crop,) = _crops(_box(0, 11, (2, 2, 2))[None], images, cameras)
        assert crop is not None and crop.shape == (20, 20, 3) and crop.mean() == pytest.approx(200, abs=1)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(_box(0, -11), id="behind the camera"),
        pytest.param(_box(0, 0.5), id="partly behind the camera"),
        pytest.param(_box(0, 21, (2, 2, 2)), id="ten pixels wide"),
        pytest.param(_box(40, 11), id="beside the image"),
    ],
)
def test_no_crop_of_what_is_not_seen_well(box: np.ndarray) -> None:
    assert _crops(box[None], [np.zeros((90, 160, 3), np.uint8)], [AHEAD]) == [None]
