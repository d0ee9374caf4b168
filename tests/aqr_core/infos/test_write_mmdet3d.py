"""Our infos as mmdet3d's pickles, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aqr_core.errors import DataError
from aqr_core.infos import build_infos, open_infos
from aqr_core.infos.schema import info_to_record
from aqr_core.infos.unpickle import load_plain_pickle
from aqr_core.infos.write_mmdet3d import info_to_mmdet3d, write_mmdet3d_infos
from aqr_eval.nuscenes.classes import CAMERAS, DETECTION_CLASSES


@pytest.fixture
def infos(tiny_root, tmp_path):
    return open_infos(build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"])


@pytest.fixture
def pickled(infos, tmp_path):
    path = tmp_path / "nuscenes_infos_val.pkl"
    write_mmdet3d_infos(path, infos.header, infos)
    return path


def test_only_tracks_are_lost_on_the_way_there_and_back(infos, pickled):
    back = open_infos(pickled)
    assert back.header == replace(infos.header, source="")
    assert len(back) == len(infos)
    for got, want in zip(back, infos, strict=True):
        found, expected = info_to_record(got), info_to_record(want)
        assert set(found["gt"].pop("instances")) <= {""} and all(expected["gt"].pop("instances"))
        for mine, own in zip(found["sweeps"], expected["sweeps"], strict=True):
            np.testing.assert_allclose(mine.pop("sweep2lidar"), own.pop("sweep2lidar"), rtol=0, atol=1e-12)
        assert found == expected


def test_the_second_keyframe_by_hand(infos, pickled):
    """The car is 8.5 m ahead of the LiDAR of the second keyframe, 5 m to the left, and drives at 5 m/s."""
    content = load_plain_pickle(pickled)
    assert content["metainfo"]["info_version"] == "1.1" and content["metainfo"]["categories"]["trailer"] == 2
    record = content["data_list"][1]
    assert (record["sample_idx"], record["token"], record["timestamp"]) == (1, "sample1", 0.5)
    assert (record["scene_name"], record["prev"], record["next"]) == ("scene-0103", "sample0", "")
    assert record["lidar_points"]["lidar_path"] == "1.pcd.bin" and record["lidar_points"]["num_pts_feats"] == 5
    assert {camera["img_path"] for camera in record["images"].values()} == {"1.jpg"}
    assert tuple(record["images"]) == CAMERAS
    front = record["images"]["CAM_FRONT"]
    assert (front["width"], front["height"], front["timestamp"]) == (64, 32, 0.48)
    (car,) = record["instances"]
    assert (car["bbox_label"], car["bbox_label_3d"], car["attr_label"]) == (0, 0, 5)
    np.testing.assert_allclose(car["bbox_3d"], [-5, 6.5, -1, 4, 2, 1.5, np.pi / 2], atol=1e-12)
    np.testing.assert_allclose(car["velocity"], [0, 5], atol=1e-12)
    newest = record["lidar_sweeps"][0]
    assert newest["timestamp"] == 0.4 and newest["lidar_points"]["lidar_path"] == "sweeps/LIDAR_TOP/400000.pcd.bin"
    np.testing.assert_allclose(np.array(newest["ego2global"])[:3, 3], [104, 200, 0], atol=1e-9)
    # A point that stands still was 1 m farther ahead a tenth of a second ago.
    np.testing.assert_allclose(np.array(newest["lidar_points"]["lidar2sensor"])[:3, 3], [0, 1, 0], atol=1e-9)


def test_a_keyframe_without_sweeps_has_no_field_for_them(infos):
    """mmdet3d pads by the absence of the field; an empty list would not be padded."""
    assert "lidar_sweeps" not in info_to_mmdet3d(infos[0], 0, DETECTION_CLASSES)


def test_an_unknown_velocity_is_nan_as_in_their_files(infos):
    barrier = info_to_mmdet3d(infos[0], 0, DETECTION_CLASSES)["instances"][1]
    assert barrier["bbox_label_3d"] == 9 and barrier["attr_label"] == 8
    assert np.isnan(barrier["velocity"]).all() and not barrier["bbox_3d_isvalid"]


def test_labels_are_translated_by_name(infos):
    """A file may count its classes in any order."""
    shuffled = tuple(reversed(DETECTION_CLASSES))
    instance = info_to_mmdet3d(infos[1], 0, shuffled)["instances"][0]
    assert instance["bbox_label_3d"] == 8  # label 0 is the last of the ten here: traffic_cone


@pytest.mark.parametrize("part", ["lidar", "camera", "sweep"])
def test_files_that_mmdet3d_would_not_find_are_refused(infos, part, tmp_path):
    info = infos[1]
    changed = {
        "lidar": replace(info, lidar=replace(info.lidar, path="mine/1.pcd.bin")),
        "camera": replace(
            info,
            cameras={**info.cameras, "CAM_BACK": replace(info.cameras["CAM_BACK"], path="samples/CAM_FRONT/1.jpg")},
        ),
        "sweep": replace(info, sweeps=(replace(info.sweeps[0], path="1.pcd.bin"),)),
    }[part]
    with pytest.raises(DataError, match=r"Sample 'sample1': \S+ is not in s\w+/\w+.*keep the folders of nuScenes"):
        write_mmdet3d_infos(tmp_path / "x.pkl", infos.header, [infos[0], changed])
    assert list(tmp_path.glob("*x.pkl*")) == []


def test_the_real_keyframe_of_mmdet3d_comes_back(shared_dir, tmp_path):
    demo = open_infos(next((shared_dir / "data/mmdet3d/demo/data/nuscenes").glob("*.pkl")))
    write_mmdet3d_infos(tmp_path / "x.pkl", demo.header, demo)
    assert info_to_record(open_infos(tmp_path / "x.pkl")[0]) == info_to_record(demo[0])
    theirs = load_plain_pickle(demo.path)["data_list"][0]
    ours = load_plain_pickle(tmp_path / "x.pkl")["data_list"][0]
    kept = [instance for instance in theirs["instances"] if instance["bbox_label_3d"] >= 0]
    for mine, own in zip(ours["instances"], kept, strict=True):
        assert {key: mine[key] for key in own if key != "velocity"} == {k: own[k] for k in own if k != "velocity"}
        np.testing.assert_array_equal(mine["velocity"], own["velocity"])
    for key in ("token", "timestamp", "ego2global", "lidar_points"):
        assert ours[key] == theirs[key], key
    for channel, image in theirs["images"].items():
        for key in ("img_path", "timestamp", "cam2img", "lidar2cam"):
            assert ours["images"][channel][key] == image[key], (channel, key)


def test_the_sweeps_of_mmdet3ds_fixture_come_back(shared_dir, tmp_path):
    fixture = open_infos(shared_dir / "data/mmdet3d/tests/data/nuscenes/nus_info.pkl")
    write_mmdet3d_infos(tmp_path / "x.pkl", fixture.header, fixture)
    back = open_infos(tmp_path / "x.pkl")
    assert back.box_convention == "lwh"
    for got, want in zip(back, fixture, strict=True):
        np.testing.assert_allclose(got.gt.boxes, want.gt.boxes, atol=1e-12)
        assert [sweep.age for sweep in got.sweeps] == [sweep.age for sweep in want.sweeps]
        for mine, own in zip(got.sweeps, want.sweeps, strict=True):
            np.testing.assert_allclose(mine.sweep2lidar, own.sweep2lidar, atol=1e-5)  # their poses are float32
