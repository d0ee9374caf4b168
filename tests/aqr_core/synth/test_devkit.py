"""The unmodified devkit loads the dataset, and what it says is what the world was."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from aqr_core.synth.rig import CAMERAS
from aqr_eval.nuscenes.classes import CATEGORY_TO_CLASS, DETECTION_CLASSES

pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")


@pytest.fixture(scope="session")
def nusc(tiny):
    from nuscenes.nuscenes import NuScenes

    return NuScenes(tiny.dataset.version, str(tiny.dataset.root), verbose=False)


def keyframes(nusc, tiny):
    """(world, seconds since the scene's start, sample) of every keyframe."""
    for scene, name, world in zip(nusc.scene, tiny.dataset.scenes, tiny.worlds, strict=True):
        assert scene["name"] == name
        sample = nusc.get("sample", scene["first_sample_token"])
        start = sample["timestamp"]
        while True:
            yield world, (sample["timestamp"] - start) / 1e6, sample
            if not sample["next"]:
                break
            sample = nusc.get("sample", sample["next"])


def test_keyframes_at_2_hz_and_scans_at_20_hz_with_all_files(nusc, tiny):
    assert len(nusc.sample) == tiny.dataset.keyframes == 18
    for scene in nusc.scene:
        first = nusc.get("sample", scene["first_sample_token"])
        data = nusc.get("sample_data", first["data"]["LIDAR_TOP"])
        times = [data["timestamp"]]
        while data["next"]:
            data = nusc.get("sample_data", data["next"])
            times.append(data["timestamp"])
            assert data["is_key_frame"] == ((data["timestamp"] - first["timestamp"]) % 500_000 == 0)
        assert np.diff(times).tolist() == [50_000] * 50
    assert all((tiny.dataset.root / data["filename"]).is_file() for data in nusc.sample_data)
    assert set(nusc.sample[0]["data"]) == {"LIDAR_TOP", *CAMERAS}


def test_poses_follow_the_vehicle_at_each_sensors_own_time(nusc, tiny):
    for world, t, sample in keyframes(nusc, tiny):
        for channel, token in sample["data"].items():
            data = nusc.get("sample_data", token)
            delay_us = CAMERAS[channel].delay_us if channel in CAMERAS else 0
            assert data["timestamp"] - sample["timestamp"] == delay_us
            pose = nusc.get("ego_pose", data["ego_pose_token"])
            np.testing.assert_allclose(pose["translation"], world.ego.position(t + delay_us / 1e6), atol=1e-9)


def test_boxes_and_velocities_are_the_worlds(nusc, tiny):
    for world, t, sample in keyframes(nusc, tiny):
        boxes = world.boxes(t)
        assert len(sample["anns"]) == len(boxes)
        for token, box, thing in zip(sample["anns"], boxes, world.things, strict=True):
            annotation = nusc.get("sample_annotation", token)
            assert annotation["category_name"] == thing.category
            np.testing.assert_allclose(annotation["translation"], box[:3], atol=1e-9)
            np.testing.assert_allclose(np.array(annotation["size"])[[1, 0, 2]], box[3:6], atol=1e-12)
            assert nusc.get_box(token).orientation.yaw_pitch_roll[0] == pytest.approx(box[6], abs=1e-9)
            np.testing.assert_allclose(nusc.box_velocity(token)[:2], box[7:], atol=1e-6)
            attributes = [nusc.get("attribute", token)["name"] for token in annotation["attribute_tokens"]]
            moving = thing.speed_mps > 0
            if thing.kind.name == "pedestrian":
                assert attributes == ["pedestrian.moving" if moving else "pedestrian.standing"]
            elif thing.kind.name in ("bicycle", "motorcycle"):
                assert attributes == ["cycle.with_rider" if moving else "cycle.without_rider"]
            elif thing.kind.name in ("barrier", "traffic_cone"):
                assert attributes == []
            else:
                assert attributes in ([["vehicle.moving"]] if moving else [["vehicle.parked"], ["vehicle.stopped"]])


def test_point_counts_are_what_the_devkit_counts(nusc, tiny):
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    for sample in nusc.sample:
        path, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"])
        points = LidarPointCloud.from_file(path).points[:3].astype(np.float64)
        counted = [int(points_in_box(box, points).sum()) for box in boxes]
        assert counted == [nusc.get("sample_annotation", box.token)["num_lidar_pts"] for box in boxes]


def test_every_class_is_there_in_every_keyframe_and_mostly_visible(nusc):
    for sample in nusc.sample:
        annotations = [nusc.get("sample_annotation", token) for token in sample["anns"]]
        assert {CATEGORY_TO_CLASS[row["category_name"]] for row in annotations} == set(DETECTION_CLASSES)
    levels = [int(row["visibility_token"]) for row in nusc.sample_annotation]
    assert set(levels) <= {1, 2, 3, 4}
    assert np.mean(np.array(levels) == 4) > 0.8
    assert np.mean([row["num_lidar_pts"] > 0 for row in nusc.sample_annotation]) > 0.95


def test_images_show_the_objects_colour_where_the_devkit_projects_its_centre(nusc, tiny):
    similar = []
    for world, _, sample in keyframes(nusc, tiny):
        things = dict(zip(sample["anns"], world.things, strict=True))
        for channel in CAMERAS:
            path, boxes, intrinsic = nusc.get_sample_data(sample["data"][channel])
            image = cv2.imread(path)
            assert image.shape == (225, 400, 3)
            for box in boxes:
                # A tenth below the centre, where every shape has something, not the gap between its parts.
                u, v, depth = intrinsic @ (box.center + [0, 0.1 * box.wlh[2], 0])
                u, v = int(u / depth), int(v / depth)
                whole = nusc.get("sample_annotation", box.token)["visibility_token"] == "4"
                if whole and 2 <= u < 398 and 2 <= v < 223:
                    patch = np.median(image[v - 1 : v + 2, u - 1 : u + 2].reshape(-1, 3), axis=0)
                    colour = things[box.token].colour_bgr
                    similar.append(patch @ colour / np.linalg.norm(patch) / np.linalg.norm(colour))
    assert len(similar) > 150
    assert np.mean(np.array(similar) > 0.97) > 0.85


def test_the_devkit_scores_perfect_predictions_as_perfect(nusc, tiny, tmp_path):
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    from aqr_eval.nuscenes.splits import SPLITS

    results = {}
    for sample in nusc.sample:
        if nusc.get("scene", sample["scene_token"])["name"] not in SPLITS["mini_val"]:
            continue
        results[sample["token"]] = [perfect(nusc, token) for token in sample["anns"]]
    submission = tmp_path / "results.json"
    meta = {
        f"use_{source}": source in ("camera", "lidar") for source in ("camera", "lidar", "radar", "map", "external")
    }
    submission.write_text(json.dumps({"meta": meta, "results": results}))
    evaluation = DetectionEval(
        nusc, config_factory("detection_cvpr_2019"), str(submission), "mini_val", str(tmp_path / "out"), verbose=False
    )
    metrics, _ = evaluation.evaluate()
    assert metrics.mean_ap == pytest.approx(1.0, abs=1e-9)
    assert metrics.nd_score == pytest.approx(1.0, abs=1e-6)


def perfect(nusc, token):
    annotation = nusc.get("sample_annotation", token)
    attributes = [nusc.get("attribute", attribute)["name"] for attribute in annotation["attribute_tokens"]]
    return {
        "sample_token": annotation["sample_token"],
        "translation": annotation["translation"],
        "size": annotation["size"],
        "rotation": annotation["rotation"],
        "velocity": nusc.box_velocity(token)[:2].tolist(),
        "detection_name": CATEGORY_TO_CLASS[annotation["category_name"]],
        "detection_score": 0.5,
        "attribute_name": attributes[0] if attributes else "",
    }
