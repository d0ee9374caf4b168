"""Ground-truth databases of mmdet3d's own `create_data.py` in ours, and ours in mmdet3d's own sampler."""

from __future__ import annotations

import logging
from pathlib import Path

import mmengine
import numpy as np
import pytest
from mmdet3d.datasets.transforms.dbsampler import DataBaseSampler
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints
from mmdet3d.utils import register_all_modules

from aqr_core.data import NuScenesDataset
from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.conversion import convert_database
from aqr_core.infos import open_infos
from aqr_core.structures.boxes3d import points_in_boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

FACE_M = 0.01  # nearer to a face than this, rounding decides which side a point is on


@pytest.fixture(scope="module", autouse=True)
def mmdet3d_modules() -> None:
    register_all_modules()
    logging.getLogger("mmengine").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def theirs(created: Path) -> ObjectDatabase:
    return ObjectDatabase.open(created / "nuscenes_dbinfos_train.pkl")


@pytest.fixture(scope="module")
def ours(created: Path) -> ObjectDatabase:
    return ObjectDatabase.open(created / "gt_database_mini_train")


@pytest.fixture(scope="module")
def pairs(theirs: ObjectDatabase, ours: ObjectDatabase) -> list[tuple[int, int]]:
    """The same object in both: (theirs, ours), the nearest of its class."""
    found = []
    for mine, (box, label) in enumerate(zip(ours.boxes, ours.labels, strict=True)):
        distance = np.abs(theirs.boxes[:, :7] - box[:7]).max(axis=1) + 1e3 * (theirs.labels != label)
        found.append((int(distance.argmin()), mine))
        assert distance.min() < 1e-5, (mine, distance.min())
    return found


def test_every_object_of_ours_is_in_theirs(theirs, ours, pairs):
    assert len({index for index, _ in pairs}) == len(ours) > 60
    assert set(theirs.classes) == set(DETECTION_CLASSES)


def test_an_unknown_velocity_is_zero_in_theirs(theirs, ours, pairs):
    unknown = 0
    for index, mine in pairs:
        if np.isnan(ours.boxes[mine, 7:]).any():
            unknown += 1
            assert (theirs.boxes[index, 7:] == 0).all()
        else:
            np.testing.assert_allclose(theirs.boxes[index, 7:], ours.boxes[mine, 7:], rtol=0, atol=1e-5)
    assert unknown == 3


def test_what_only_theirs_holds_is_of_no_class_and_called_a_barrier(created, theirs, pairs):
    """Their tool names an object by `classes[label]`, and the label of an animal is -1: the last class, barrier."""
    infos = open_infos(created / "nuscenes_infos_train.pkl")
    known = np.concatenate([info.gt.boxes[info.gt.valid] for info in infos])
    others = sorted(set(range(len(theirs))) - {index for index, _ in pairs})
    false_barriers = 0
    for index in others:
        is_known = np.abs(known[:, :7] - theirs.boxes[index, :7]).max(axis=1).min() < 1e-5
        if not is_known:
            false_barriers += 1
            assert theirs.classes[theirs.labels[index]] == "barrier"
        else:
            assert theirs.num_points[index] == 0  # ours has no object without a point
    assert false_barriers >= 6  # two racks in three keyframes, and the animal where it has points


def test_points_of_the_keyframe_itself_are_the_same(theirs, ours, pairs):
    """Older sweeps lie elsewhere in theirs, see `test_how_far_their_loader_misplaces_sweeps`.

    And a keyframe without past is padded there with ten copies of its points, all of age 0.
    """
    compared = 0
    for index, mine in pairs:
        clouds = []
        for database, row in ((theirs, index), (ours, mine)):
            points = database.points(row)
            smaller = np.concatenate([np.zeros(3), database.boxes[row, 3:6] - 2 * FACE_M, [database.boxes[row, 6]]])
            kept = (points[:, 4] == 0) & points_in_boxes(points, smaller[None])[:, 0]
            clouds.append(np.unique(np.round(points[kept, :4].astype(np.float64), 3), axis=0))
        got, want = clouds
        compared += len(want)
        assert abs(len(got) - len(want)) <= 0.02 * len(want) + 1, (index, len(got), len(want))
        near = np.abs(got[:, None, :3] - want[None, :, :3]).max(axis=2).min(axis=0)
        assert (near < 2e-3).all(), (index, near.max())
    assert compared > 1000


def test_ages_are_those_of_the_sweeps(theirs, ours, pairs):
    ages = {round(float(age), 6) for index, _ in pairs for age in np.unique(theirs.points(index)[:, 4])}
    assert ages == {round(float(age), 6) for _, mine in pairs for age in np.unique(ours.points(mine)[:, 4])}


def test_our_dataset_pastes_from_theirs(created, theirs):
    groups = {name: 8 for name in DETECTION_CLASSES}
    steps = [
        dict(type="LoadPointsFromFile"),
        dict(type="LoadAnnotations3D"),
        dict(type="ObjectSample", db_sampler=dict(database="nuscenes_dbinfos_train.pkl", sample_groups=groups)),
    ]
    bare = NuScenesDataset(created, created / "nuscenes_infos_train.pkl", steps[:2])
    pasted = NuScenesDataset(created, created / "nuscenes_infos_train.pkl", steps)
    added = sum(len(pasted[i].gt_boxes) - len(bare[i].gt_boxes) for i in range(3))
    assert added > 3


# --- ours in theirs


@pytest.fixture(scope="module")
def exported(created: Path) -> Path:
    """Our database as theirs, beside the sensor files."""
    path = created / "aqr_dbinfos_train.pkl"
    convert_database(created / "gt_database_mini_train", path)
    return path


def their_sampler(path: Path, count: int = 4) -> dict:
    """What an mmdet3d config says."""
    return dict(
        data_root=str(path.parent),
        info_path=str(path),
        rate=1.0,
        prepare=dict(filter_by_difficulty=[-1], filter_by_min_points={name: 5 for name in DETECTION_CLASSES}),
        sample_groups={name: count for name in DETECTION_CLASSES},
        classes=list(DETECTION_CLASSES),
        points_loader=dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=[0, 1, 2, 3, 4]),
    )


def test_their_sampler_draws_our_objects(ours, exported):
    np.random.seed(0)
    sampler = DataBaseSampler(**their_sampler(exported))
    for name in DETECTION_CLASSES:
        mine = (ours.labels == DETECTION_CLASSES.index(name)) & (ours.num_points >= 5)
        assert len(sampler.db_infos[name]) == mine.sum()
    drawn = sampler.sample_all(np.zeros((0, 9), np.float32), np.zeros(0, np.int64))
    boxes = LiDARInstance3DBoxes(drawn["gt_bboxes_3d"], box_dim=9)
    points = drawn["points"].numpy()
    assert len(boxes) >= 10 and len(points) > 100
    rows = np.hstack([boxes.gravity_center.numpy(), boxes.tensor.numpy()[:, 3:7]])
    start = 0
    for row, label in zip(rows, drawn["gt_labels_3d"], strict=True):
        same = np.abs(ours.boxes[:, :7] - row).max(axis=1) + 1e3 * (ours.labels != label)
        stored = ours.points(int(same.argmin()))
        assert same.min() < 1e-5
        of_object = points[start : start + len(stored)]
        np.testing.assert_allclose(of_object[:, :3], stored[:, :3] + row[:3], rtol=0, atol=2e-5)
        np.testing.assert_array_equal(of_object[:, 3:], stored[:, 3:])
        start += len(stored)
    assert start == len(points)


def test_their_transform_pastes_our_objects(exported):
    np.random.seed(0)
    transform = TRANSFORMS.build(dict(type="ObjectSample", db_sampler=their_sampler(exported)))
    scene = LiDARPoints(np.random.default_rng(0).uniform(-50, 50, (1000, 5)).astype(np.float32), points_dim=5)
    results = transform(
        dict(
            points=scene,
            gt_bboxes_3d=LiDARInstance3DBoxes(np.zeros((0, 9), np.float32), box_dim=9),
            gt_labels_3d=np.zeros(0, np.int64),
        )
    )
    boxes, labels = results["gt_bboxes_3d"], results["gt_labels_3d"]
    assert len(boxes) == len(labels) >= 10
    rows = np.hstack([boxes.gravity_center.numpy(), boxes.tensor.numpy()[:, 3:7]])
    assert points_in_boxes(results["points"].coord.numpy(), rows).any(axis=0).all()


def test_the_records_have_their_fields_and_types(created, exported):
    theirs, ours = mmengine.load(created / "nuscenes_dbinfos_train.pkl"), mmengine.load(exported)
    want, got = theirs["car"][0], ours["car"][0]
    assert set(got) == {*want, "image_path"}
    assert got["box3d_lidar"].dtype == want["box3d_lidar"].dtype == np.float32
    assert got["box3d_lidar"].shape == want["box3d_lidar"].shape
    assert isinstance(got["num_points_in_gt"], int) and got["difficulty"] == want["difficulty"] == 0
    assert got["path"].startswith("aqr_gt_database/") and want["path"].startswith("nuscenes_gt_database/")


def test_there_and_back(ours, exported, tmp_path):
    done = convert_database(exported, tmp_path / "back")
    back = ObjectDatabase.open(tmp_path / "back")
    assert done.objects == len(back) == len(ours) and back.has_images
    for index, mine in enumerate(np.argsort(ours.labels, kind="stable")):
        np.testing.assert_allclose(back.boxes[index], np.nan_to_num(ours.boxes[mine]), rtol=0, atol=1e-5)
        np.testing.assert_allclose(back.points(index), ours.points(mine), rtol=0, atol=1e-6)
        assert back.stored_image(index) == ours.stored_image(mine)


def test_theirs_as_ours(theirs, created, tmp_path):
    done = convert_database(created / "nuscenes_dbinfos_train.pkl", tmp_path / "ours")
    converted = ObjectDatabase.open(tmp_path / "ours")
    assert done.left_behind == ("the numbers image_idx, gt_idx and group_id",)
    np.testing.assert_array_equal(converted.boxes, theirs.boxes)
    np.testing.assert_array_equal(converted.num_points, theirs.num_points)
    for index in range(len(theirs)):
        np.testing.assert_array_equal(converted.points(index), theirs.points(index))
