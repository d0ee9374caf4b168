"""Infos of mmdet3d's own `create_data.py` in ours, and ours in mmdet3d's own dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
from mmdet3d.datasets import NuScenesDataset as TheirDataset
from mmdet3d.utils import register_all_modules

from aqr_core.data import NuScenesDataset
from aqr_core.infos import Info, open_infos
from aqr_core.infos.conversion import convert_infos
from aqr_core.infos.mmdet3d_format import MMDET3D_CLASSES
from aqr_core.infos.schema import info_to_record
from aqr_eval.nuscenes.classes import CAMERAS, DETECTION_CLASSES

SPLITS = {"mini_train": "nuscenes_infos_train.pkl", "mini_val": "nuscenes_infos_val.pkl"}
# Their poses are float32. Near 1000 m, where nuScenes drives, that is a twentieth of a millimetre each.
POSE_M, ROTATION = 3e-4, 1e-7


@pytest.fixture(scope="module", autouse=True)
def mmdet3d_modules() -> None:
    register_all_modules()
    logging.getLogger("mmengine").setLevel(logging.ERROR)


@pytest.fixture(params=list(SPLITS))
def both(request: pytest.FixtureRequest, created: Path) -> tuple[Any, Any]:
    """(theirs, ours) of a split, both read by ours."""
    return open_infos(created / SPLITS[request.param]), open_infos(created / f"infos_{request.param}.jsonl")


def assert_close_pose(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got[:3, :3], want[:3, :3], rtol=0, atol=4 * ROTATION)
    np.testing.assert_allclose(got[:3, 3], want[:3, 3], rtol=0, atol=POSE_M)


def test_their_infos_say_what_ours_say(both):
    """Everything but tracks, attributes, scenes, links and image sizes, to which `aqr convert-infos` confesses."""
    theirs, ours = both
    assert theirs.tokens() == ours.tokens() and theirs.box_convention == "lwh"
    for got, want in zip(theirs, ours, strict=True):
        assert (got.timestamp, got.lidar.path, got.lidar.num_features) == (want.timestamp, want.lidar.path, 5)
        assert_close_pose(got.ego2global, want.ego2global)
        assert_close_pose(got.lidar.lidar2ego, want.lidar.lidar2ego)
        assert [(s.path, s.age) for s in got.sweeps] == [(s.path, s.age) for s in want.sweeps]
        for mine, own in zip(got.sweeps, want.sweeps, strict=True):
            assert_close_pose(mine.sweep2lidar, own.sweep2lidar)
        for channel in CAMERAS:
            mine, own = got.cameras[channel], want.cameras[channel]
            assert (mine.path, mine.timestamp) == (own.path, own.timestamp)
            np.testing.assert_array_equal(mine.cam2img, own.cam2img)
            assert_close_pose(mine.lidar2cam, own.lidar2cam)
        for column in ("labels", "num_lidar_pts", "num_radar_pts", "valid"):
            np.testing.assert_array_equal(getattr(got.gt, column), getattr(want.gt, column))
        np.testing.assert_allclose(got.gt.boxes, want.gt.boxes, rtol=0, atol=1e-9)


def test_the_data_holds_what_is_difficult(created):
    """Otherwise the other tests would be about nothing."""
    ours = open_infos(created / "infos_mini_train.jsonl")
    assert sum(len(info.sweeps) > 0 for info in ours) == 2  # the first of three has no past
    assert sum(np.isnan(info.gt.boxes[:, 7:]).any(axis=1).sum() for info in ours) == 3
    categories = mmengine.load(created / "nuscenes_infos_train.pkl")["metainfo"]["categories"]
    assert categories["animal"] == categories["static_object.bicycle_rack"] == -1
    turned = [np.abs(sweep.sweep2lidar[0, 1]) for info in ours for sweep in info.sweeps]
    assert max(turned) > 0.01


def test_what_their_infos_lack_is_told(created, tmp_path):
    done = convert_infos(created / "nuscenes_infos_train.pkl", tmp_path / "x.jsonl", split="mini_train")
    theirs, converted = open_infos(created / "nuscenes_infos_train.pkl"), open_infos(tmp_path / "x.jsonl")
    assert done.keyframes == 3 and converted.header.split == "mini_train"
    outside = theirs.count_boxes() - sum(len(info.gt) for info in theirs)
    assert outside > 3 and f"{outside} boxes outside the ten classes" in done.left_behind
    fields = {phrase.split()[2] for phrase in done.left_behind if phrase.startswith("the field ")}
    assert fields == {
        "cam_instances",
        "images.cam2ego",
        "images.sample_data_token",
        "lidar_sweeps.sample_data_token",
    }
    assert [phrase.split(" (")[0] for phrase in done.unknown] == [
        "scenes and links between keyframes",
        "attributes",
        "image sizes",
    ]
    for got, want in zip(converted, theirs, strict=True):
        assert info_to_record(got) == info_to_record(want)


def test_samples_of_our_dataset_are_equal(created):
    steps = [
        dict(type="LoadPointsFromFile"),
        dict(type="LoadPointsFromMultiSweeps", test_mode=True),
        dict(type="LoadMultiViewImageFromFiles"),
        dict(type="LoadAnnotations3D"),
    ]
    theirs, ours = (
        NuScenesDataset(created, created / name, steps)
        for name in ("nuscenes_infos_train.pkl", "infos_mini_train.jsonl")
    )
    assert len(theirs) == len(ours) == 3
    for index in range(3):
        got, want = theirs[index], ours[index]
        np.testing.assert_allclose(got.points, want.points, rtol=0, atol=5e-4)
        np.testing.assert_array_equal(got.points[:, 4], want.points[:, 4])
        np.testing.assert_array_equal(got.images, want.images)
        np.testing.assert_allclose(got.lidar2img, want.lidar2img, rtol=0, atol=5e-4)
        np.testing.assert_array_equal(got.gt_boxes, want.gt_boxes)
        np.testing.assert_array_equal(got.gt_labels, want.gt_labels)


def test_class_balance_sees_the_same_classes(both):
    theirs, ours = (infos.presence() for infos in both)
    np.testing.assert_array_equal(theirs.annotated, ours.annotated)
    np.testing.assert_array_equal(theirs.valid, ours.valid)


# --- ours in theirs

PREFIX = {"pts": "samples/LIDAR_TOP", "sweeps": "sweeps/LIDAR_TOP", **{name: f"samples/{name}" for name in CAMERAS}}
PIPELINE = [
    dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5),
    dict(
        type="LoadPointsFromMultiSweeps",
        sweeps_num=10,
        use_dim=[0, 1, 2, 3, 4],
        pad_empty_sweeps=True,
        remove_close=True,
        test_mode=True,
    ),
    dict(type="LoadMultiViewImageFromFiles", color_type="color", num_views=6),
    dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True, with_attr_label=False),
    dict(type="ObjectNameFilter", classes=list(MMDET3D_CLASSES)),
    dict(
        type="Pack3DDetInputs",
        keys=["points", "img", "gt_bboxes_3d", "gt_labels_3d"],
        meta_keys=["token", "sample_idx", "cam2img", "lidar2cam", "ori_cam2img", "ori_lidar2img", "img_path"],
    ),
]


def their_dataset(root: Path, infos: Path, **arguments: Any) -> TheirDataset:
    return TheirDataset(
        data_root=str(root),
        ann_file=str(infos),
        data_prefix=dict(PREFIX),
        pipeline=[dict(step) for step in PIPELINE],
        modality=dict(use_lidar=True, use_camera=True),
        metainfo=dict(classes=MMDET3D_CLASSES, version="v1.0-mini"),
        **arguments,
    )


@pytest.fixture(scope="module")
def exported(created: Path) -> Path:
    """Our infos of the training split as a pickle of theirs."""
    path = created / "exported" / "aqr_infos_train.pkl"
    assert convert_infos(created / "infos_mini_train.jsonl", path).keyframes == 3
    return path


@pytest.mark.parametrize("use_valid_flag", [False, True])
def test_their_dataset_makes_the_same_of_ours(created, exported, use_valid_flag):
    theirs = their_dataset(created, created / "nuscenes_infos_train.pkl", use_valid_flag=use_valid_flag)
    ours = their_dataset(created, exported, use_valid_flag=use_valid_flag)
    assert len(theirs) == len(ours) == 3
    assert ours.metainfo["split"] == "mini_train"
    for index in range(3):
        got, want = ours[index], theirs[index]
        assert len(want["inputs"]["points"]) > 10_000
        np.testing.assert_allclose(got["inputs"]["points"], want["inputs"]["points"], rtol=0, atol=2e-5)
        np.testing.assert_array_equal(got["inputs"]["img"], want["inputs"]["img"])
        mine, own = got["data_samples"], want["data_samples"]
        assert (mine.token, mine.sample_idx, mine.img_path) == (own.token, own.sample_idx, own.img_path)
        for matrix in ("cam2img", "lidar2cam"):
            np.testing.assert_allclose(getattr(mine, matrix), getattr(own, matrix), rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            mine.gt_instances_3d.bboxes_3d.tensor, own.gt_instances_3d.bboxes_3d.tensor, rtol=0, atol=1e-5
        )
        np.testing.assert_array_equal(mine.gt_instances_3d.labels_3d, own.gt_instances_3d.labels_3d)


def test_their_dataset_in_test_mode(created, exported):
    dataset = their_dataset(created, exported, test_mode=True)
    assert [dataset.get_data_info(i)["token"] for i in range(3)] == open_infos(exported).tokens()


def test_fields_of_theirs_and_ours_agree(created, exported):
    """Every field of their records that ours have too; the names of those that ours lack."""
    theirs, ours = mmengine.load(created / "nuscenes_infos_train.pkl"), mmengine.load(exported)
    known = {name: label for name, label in theirs["metainfo"]["categories"].items() if label >= 0}
    assert ours["metainfo"]["categories"] == known
    lacking: set[str] = set()
    for got, want in zip(ours["data_list"], theirs["data_list"], strict=True):
        want["instances"] = [each for each in want["instances"] if each["bbox_label_3d"] >= 0]
        for sweep in want.get("lidar_sweeps", ()):
            path = sweep["lidar_points"]["lidar_path"]
            sweep["lidar_points"]["lidar_path"] = "/".join(path.split("/")[-3:])
        _compare(got, want, "", lacking)
    assert lacking == {
        "cam_instances",
        "images.CAM.cam2ego",
        "images.CAM.sample_data_token",
        "lidar_sweeps.sample_data_token",
    }


def _compare(got: Any, want: Any, where: str, lacking: set[str]) -> None:
    if isinstance(want, dict):
        for key, value in want.items():
            below = f"{where}.{'CAM' if key in CAMERAS else key}".lstrip(".")
            if value is None:
                continue  # a field that their tool leaves open
            if key in got:
                _compare(got[key], value, below, lacking)
            else:
                lacking.add(below)
    elif isinstance(want, list) and want and isinstance(want[0], dict):
        assert len(got) == len(want), where
        for mine, own in zip(got, want, strict=True):
            _compare(mine, own, where, lacking)
    elif isinstance(want, str):
        assert got == want, where
    else:
        np.testing.assert_allclose(got, want, rtol=0, atol=POSE_M, err_msg=where)


def test_only_tracks_are_lost_there_and_back(created, exported, tmp_path):
    """And the fingerprint of the tables."""
    done = convert_infos(exported, tmp_path / "back.jsonl")
    assert done.left_behind == () and done.unknown == ()
    ours, back = open_infos(created / "infos_mini_train.jsonl"), open_infos(tmp_path / "back.jsonl")
    for got, want in zip(back, ours, strict=True):
        found, expected = info_to_record(got), info_to_record(want)
        assert set(found["gt"].pop("instances")) == {""} and all(expected["gt"].pop("instances"))
        for mine, own in zip(found["sweeps"], expected["sweeps"], strict=True):
            np.testing.assert_allclose(mine.pop("sweep2lidar"), own.pop("sweep2lidar"), rtol=0, atol=1e-11)
        assert found == expected


def misplacement_m(info: Info) -> float:
    """How far mmdet3d's loader puts the oldest sweep from its place."""
    motion = info.sweeps[-1].sweep2lidar
    return float(np.linalg.norm(motion[:3, :3].T @ motion[:3, 3] - motion[:3, 3]))


def test_how_far_their_loader_misplaces_sweeps(created):
    """It moves points by `p @ R - t` with the matrix from the keyframe to the sweep, so the translation is turned.

    Ours moves them by the motion itself. The same in both files: the difference is the loader's.
    """
    theirs = their_dataset(created, created / "nuscenes_infos_train.pkl")
    infos = open_infos(created / "infos_mini_train.jsonl")
    info = infos[2]
    assert misplacement_m(info) > 0.05
    sweep = info.sweeps[-1]
    data = theirs.get_data_info(2)
    record = data["lidar_sweeps"][-1]["lidar_points"]
    raw = np.fromfile(record["lidar_path"], np.float32).reshape(-1, 5)[:, :3].astype(np.float64)
    matrix = np.array(record["lidar2sensor"])
    their_points = raw @ matrix[:3, :3] - matrix[:3, 3]
    our_points = raw @ sweep.sweep2lidar[:3, :3].T + sweep.sweep2lidar[:3, 3]
    offsets = np.linalg.norm(their_points - our_points, axis=1)
    np.testing.assert_allclose(offsets, misplacement_m(info), atol=1e-4)


def test_their_labels_count_their_classes(exported):
    ours = open_infos(exported)
    labels = np.concatenate([info.gt.labels for info in ours])
    raw = [each["bbox_label_3d"] for record in mmengine.load(exported)["data_list"] for each in record["instances"]]
    assert [MMDET3D_CLASSES[label] for label in raw] == [DETECTION_CLASSES[label] for label in labels]
    assert len(set(raw)) == 10
