"""Geometry of real nuScenes frames, pinned by numbers that were measured without this code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aqr_core.data.files import find_sensor_file, read_points
from aqr_core.infos import Info, Infos, build_infos, open_infos
from aqr_core.structures.boxes3d import box_corners, points_in_boxes
from aqr_core.structures.frames import project_points, transform_points
from aqr_eval.nuscenes.classes import CAMERAS
from aqr_eval.nuscenes.geometry import quaternion_to_matrix
from aqr_eval.nuscenes.tables import NuScenesTables

WIDTH, HEIGHT = 1600, 900


@pytest.fixture(scope="module")
def demo(shared_dir: Path) -> tuple[Path, Info]:
    """The keyframe that mmdetection3d ships: a flat folder and a pickle of format 1.1."""
    root = shared_dir / "data/mmdet3d/demo/data/nuscenes"
    return root, open_infos(next(root.glob("*.pkl")))[0]


def test_demo_points_per_image(demo):
    root, info = demo
    points = read_points(find_sensor_file(root, info.lidar.path), info.lidar.num_features)
    assert points.shape == (34_688, 5)
    counts = {}
    for camera in CAMERAS:
        pixels, depth = project_points(info.lidar2img(camera), points[:, :3])
        inside = (depth > 1) & (pixels >= 0).all(axis=1) & (pixels[:, 0] < WIDTH) & (pixels[:, 1] < HEIGHT)
        counts[camera] = int(inside.sum())
    assert counts == {
        "CAM_FRONT_LEFT": 3704,
        "CAM_FRONT": 3067,
        "CAM_FRONT_RIGHT": 3079,
        "CAM_BACK_LEFT": 4097,
        "CAM_BACK": 4826,
        "CAM_BACK_RIGHT": 3379,
    }


def test_demo_boxes_hold_their_points(demo):
    root, info = demo
    points = read_points(find_sensor_file(root, info.lidar.path), info.lidar.num_features)
    inside = points_in_boxes(points, info.gt.boxes).sum(axis=0)
    # 61 of all 69 agree; the box with label -1, which is dropped here, is one of them.
    assert len(info.gt) == 68
    assert int((inside == info.gt.num_lidar_pts).sum()) == 60


def test_demo_boxes_per_image(demo):
    _, info = demo
    corners = box_corners(info.gt.boxes)
    counts = {}
    for camera in CAMERAS:
        pixels, depth = project_points(info.lidar2img(camera), corners.reshape(-1, 3))
        pixels, depth = pixels.reshape(-1, 8, 2), depth.reshape(-1, 8)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        visible = (depth > 0.5).all(axis=1) & (high > 0).all(axis=1) & (low < (WIDTH, HEIGHT)).all(axis=1)
        counts[camera] = int(visible.sum())
    # Of all 69 boxes the front camera sees 48; one of them has the label -1. The file's own 2D boxes say the same.
    assert counts == {
        "CAM_FRONT": 47,
        "CAM_FRONT_RIGHT": 18,
        "CAM_BACK": 10,
        "CAM_BACK_RIGHT": 5,
        "CAM_FRONT_LEFT": 2,
        "CAM_BACK_LEFT": 2,
    }


def test_demo_labels_and_unknown_velocities(demo):
    _, info = demo
    names = {"pedestrian": 30, "barrier": 22, "car": 8, "traffic_cone": 3, "truck": 2, "bus": 1, "bicycle": 1}
    names["construction_vehicle"] = 1
    classes = open_infos(next(demo[0].glob("*.pkl"))).header.classes
    found = dict(zip(*np.unique(np.array(classes)[info.gt.labels], return_counts=True), strict=True))
    assert found == names
    speed = np.hypot(info.gt.boxes[:, 7], info.gt.boxes[:, 8])
    assert np.isnan(speed).sum() == 2
    assert np.nanmax(speed) == pytest.approx(11.25, abs=0.01)


@pytest.fixture(scope="module")
def infos(scene0523_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Infos:
    """Only the keyframes whose files are there."""
    out = tmp_path_factory.mktemp("infos")
    return Infos.open(build_infos(scene0523_root, "v1.0-trainval", out, require_files=False)["val"])


def test_extract_keeps_the_keyframes_with_files(infos):
    assert len(infos) == 12
    assert {info.scene for info in infos} == {"scene-0523"}


def test_extract_sweeps_are_what_is_on_disk(infos):
    """No sweep file is there, but a keyframe is the sweep of the next one, where that comes ten sweeps later."""
    assert [len(info.sweeps) for info in infos] == [0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    for previous, info in zip(infos, infos[1:], strict=False):
        for sweep in info.sweeps:
            assert sweep.path == previous.lidar.path
            assert sweep.age == pytest.approx(info.timestamp - previous.timestamp, abs=1e-6)
            now, before = (i.ego2global @ i.lidar.lidar2ego for i in (info, previous))
            np.testing.assert_allclose(sweep.sweep2lidar, np.linalg.inv(now) @ before, atol=1e-9)


def test_extract_boxes_hold_their_points_exactly(scene0523_root, infos):
    """In the box's own frame, tilt included, every annotated count is reproduced: poses are exact."""
    tables = NuScenesTables(scene0523_root, "v1.0-trainval")
    wanted = {info.token: info for info in infos}
    boxes = agree = 0
    for keyframe in tables.keyframes(["scene-0523"], max_sweeps=0):
        if keyframe.token not in wanted:
            continue
        info = wanted[keyframe.token]
        points = read_points(scene0523_root / info.lidar.path, 5)[:, :3].astype(np.float64)
        in_global = transform_points(info.ego2global @ info.lidar.lidar2ego, points)
        for annotation in keyframe.annotations:
            local = (in_global - annotation.translation) @ quaternion_to_matrix(annotation.rotation_wxyz)
            width, length, height = annotation.size_wlh
            inside = (np.abs(local) <= np.array([length, width, height]) / 2).all(axis=1).sum()
            boxes += 1
            agree += int(inside == annotation.num_lidar_pts)
    assert (boxes, agree) == (697, 697)


def test_extract_boxes_in_the_lidar_frame(scene0523_root, infos):
    """Turned about z only, as detectors see them, boxes gain or lose points at their faces, but few."""
    wanted = found = 0
    for info in infos:
        points = read_points(scene0523_root / info.lidar.path, 5)
        found += int(points_in_boxes(points, info.gt.boxes).sum())
        wanted += int(info.gt.num_lidar_pts.sum())
    assert found == pytest.approx(wanted, rel=0.02)
