from __future__ import annotations

import json

import numpy as np
import pytest

from aqr_eval import load_ground_truth
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.errors import DataError


def test_tiny_dataset(tiny_dataroot):
    gt = load_ground_truth(tiny_dataroot, "v1.0-mini", "mini_val")
    assert gt.tokens == ("t0", "t1", "t2") and not gt.allows_extra_samples
    np.testing.assert_allclose(gt.ego_translation[:, 0], [0, 0.5, 1.0])
    assert [DETECTION_CLASSES[label] for label in gt.boxes.label] == ["car", "pedestrian", "car", "bicycle", "car"]
    assert gt.boxes.sample.tolist() == [0, 0, 1, 1, 2]
    assert gt.boxes.num_pts.tolist() == [8] * 5
    assert len(gt.bicycle_racks) == 1 and gt.bicycle_racks.sample.tolist() == [1]


def test_only_the_fields_that_the_metric_needs(tmp_path, tiny_tables, write_tables):
    for row in tiny_tables["sample_data"]:
        for field in ("timestamp", "filename", "fileformat", "width", "height", "prev", "next"):
            del row[field]
    for row in tiny_tables["ego_pose"]:
        del row["rotation"], row["timestamp"]
    for row in tiny_tables["sample_annotation"]:
        del row["visibility_token"]
    tiny_tables["visibility"] = tiny_tables["log"] = []
    assert len(load_ground_truth(write_tables(tmp_path / "lean", tiny_tables), "v1.0-mini", "mini_val").boxes) == 5


def test_custom_split_allows_extra_samples(tiny_dataroot):
    (tiny_dataroot / "v1.0-mini" / "splits.json").write_text(json.dumps({"mine": ["scene-0103", "scene-9999"]}))
    gt = load_ground_truth(tiny_dataroot, "v1.0-mini", "mine")
    assert len(gt.tokens) == 3 and gt.allows_extra_samples


def test_split_without_samples(tiny_dataroot):
    with pytest.raises(DataError, match="holds no sample of split 'mini_train'"):
        load_ground_truth(tiny_dataroot, "v1.0-mini", "mini_train")


def test_without_annotations_nothing_can_be_scored(tmp_path, tiny_tables, write_tables):
    tiny_tables["sample_annotation"] = []
    with pytest.raises(DataError, match=r"sample_annotation\.json is empty.*nuScenes server"):
        load_ground_truth(write_tables(tmp_path / "blind", tiny_tables), "v1.0-mini", "mini_val")


@pytest.mark.parametrize(
    ("table", "row", "change", "message"),
    [
        ("sample_data", 0, {"is_key_frame": False}, "no LIDAR_TOP keyframe for sample 't0'"),
        ("sample_data", 0, {"ego_pose_token": "x"}, "ego_pose_token = 'x', which is not in ego_pose"),
        ("ego_pose", 0, {"translation": [0]}, r"has translation = \[0\] where 3 numbers belong"),
        ("attribute", 0, {"name": "vehicle.flying"}, "token 'car0' has attribute 'vehicle.flying'"),
        ("calibrated_sensor", 0, {"sensor_token": "x"}, "sensor_token = 'x'"),
    ],
)
def test_bad_rows_are_named(tmp_path, tiny_tables, write_tables, table, row, change, message):
    tiny_tables[table][row].update(change)
    with pytest.raises(DataError, match=message):
        load_ground_truth(write_tables(tmp_path / "bad", tiny_tables), "v1.0-mini", "mini_val")


def test_some_samples_in_another_order(tiny_dataroot):
    whole = load_ground_truth(tiny_dataroot, "v1.0-mini", "mini_val")
    part = whole.of_samples(["t2", "t1"])
    assert part.tokens == ("t2", "t1")
    assert part.boxes.sample.tolist() == [1, 1, 0] and part.bicycle_racks.sample.tolist() == [1]
    np.testing.assert_allclose(part.ego_translation[:, 0], [1.0, 0.5])
    np.testing.assert_array_equal(part.boxes.translation, whole.boxes.translation[2:])
    with pytest.raises(DataError, match="no sample 'elsewhere' \\(1 of 2 are absent\\)"):
        whole.of_samples(["t0", "elsewhere"])
