"""Databases of real keyframes, against numbers that mmdetection3d's own tool gives for them."""

from __future__ import annotations

import numpy as np

from aqr_core.data.database.build import build_object_database
from aqr_core.infos import build_infos, open_infos
from aqr_core.structures.boxes3d import points_in_boxes


def test_demo_keyframe(shared_dir, tmp_path):
    """mmdetection3d 1.4 finds the same points in each of these 65 boxes, eleven times over, as it pads the sweeps."""
    root = shared_dir / "data/mmdet3d/demo/data/nuscenes"
    infos = next(root.glob("*.pkl"))
    database = build_object_database(root, infos, tmp_path / "db", workers=1)
    assert len(database) == 65  # of 68 boxes of the ten classes, three hold no point
    counts = dict(zip(database.classes, np.bincount(database.labels, minlength=10), strict=True))
    assert {name: count for name, count in counts.items() if count} == {
        "car": 8,
        "truck": 2,
        "construction_vehicle": 1,
        "bus": 1,
        "barrier": 22,
        "bicycle": 1,
        "pedestrian": 27,
        "traffic_cone": 3,
    }
    gt = open_infos(infos)[0].gt
    annotated = gt.num_lidar_pts[gt.valid]
    assert int((database.num_points == annotated).sum()) == 57  # with the empty ones: the 60 of the infos' own test
    assert database.num_points.max() == 479 and database.num_points.sum() == 984
    largest = max((database.image(i) for i in np.flatnonzero(database.with_image)), key=np.size)
    assert largest.shape == (470, 560, 3)


def test_scene_0523(scene0523_root, tmp_path):
    infos = build_infos(scene0523_root, "v1.0-trainval", tmp_path, splits=["val"], require_files=False)["val"]
    database = build_object_database(scene0523_root, infos, tmp_path / "db", workers=1)
    assert int(database.with_image.sum()) == 433
    boxes = database.boxes.copy()
    boxes[:, :3] = 0
    boxes[:, 3:6] += 1e-4
    for i in range(len(database)):
        assert points_in_boxes(database.points(i), boxes[i : i + 1]).all()
