"""Infos as ground truth, without the package that writes them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aqr_eval import load_ground_truth
from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.errors import DataError

HEADER = {
    "format": "aqr-infos",
    "version": 1,
    "dataset_version": "v1.0-mini",
    "split": "mini_val",
    "classes": list(reversed(DETECTION_CLASSES)),
}


def _record(**changes):
    """The LiDAR 2 m above a vehicle at (100, 200) that looks along global y; one car 10 m ahead of it."""
    return {
        "token": "t0",
        "scene": "scene-0103",
        "ego2global": [[0, -1, 0, 100], [1, 0, 0, 200], [0, 0, 1, 0], [0, 0, 0, 1]],
        "lidar": {"lidar2ego": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]},
        "cameras": {
            "CAM_FRONT": {
                "width": 800,
                "height": 400,
                "cam2img": [[400, 0, 400], [0, 400, 200], [0, 0, 1]],
                "lidar2cam": [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]],
            }
        },
        "gt": {
            "boxes": [[10, 0, -1, 4, 2, 1.5, 0, 3, 0], [-10, 0, 0, 1, 1, 1, 0, None, None]],
            "labels": [HEADER["classes"].index("car"), HEADER["classes"].index("barrier")],
            "num_lidar_pts": [5, 0],
            "num_radar_pts": [1, 0],
            "attributes": ["vehicle.moving", ""],
        },
    } | changes


def _write(tmp_path, *records):
    path = tmp_path / "infos_mini_val.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_boxes_go_to_the_global_frame(tmp_path):
    truth = load_ground_truth(_write(tmp_path, HEADER, _record()))
    boxes = truth.boxes
    assert truth.tokens == ("t0",) and truth.scenes == ("scene-0103",) and truth.name == "mini_val of v1.0-mini"
    np.testing.assert_allclose(boxes.translation, [[100, 210, 1], [100, 190, 2]], atol=1e-12)
    np.testing.assert_allclose(boxes.velocity[0], [0, 3], atol=1e-12)
    assert np.isnan(boxes.velocity[1]).all()
    assert boxes.size_wlh.tolist() == [[2, 4, 1.5], [1, 1, 1]]
    assert boxes.label.tolist() == [CLASS_INDEX["car"], CLASS_INDEX["barrier"]]
    assert boxes.attribute.tolist() == [ATTRIBUTE_INDEX["vehicle.moving"], -1] and boxes.num_pts.tolist() == [6, 0]
    assert truth.ego_translation.tolist() == [[100, 200, 0]] and not len(truth.bicycle_racks)
    assert truth.cameras.sees(boxes.translation, boxes.sample)[:, 0].tolist() == [True, False]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"format": "other", "version": 1}], "1: the header says 'other' 1, not 'aqr-infos' 1; rebuild"),
        ([HEADER | {"classes": ["lorry"]}], "1: the header counts 'lorry', which is no nuScenes detection class"),
        ([HEADER, {"token": "t0"}], "2: field 'gt' is missing"),
        ([HEADER, _record(ego2global=[[1]])], "2: cannot reshape array of size 1"),
        (
            [HEADER, _record(lidar={"lidar2ego": [[float("nan")] * 4] * 4})],
            "2: a pose holds numbers that are not finite",
        ),
        ([HEADER, _record(), []], "3: "),
        (
            [HEADER, _record(gt=_record()["gt"] | {"labels": [0]})],
            "2: the columns of field 'gt' have different lengths",
        ),
        ([HEADER, _record(gt=_record()["gt"] | {"labels": [0, 10]})], "2: index 10 is out of bounds"),
        ([HEADER], "holds no annotated box"),
    ],
)
def test_broken_lines_are_named(tmp_path, records, message):
    with pytest.raises(DataError, match=message):
        load_ground_truth(_write(tmp_path, *records))


def test_a_pickle_is_told(tmp_path):
    path = tmp_path / "nuscenes_infos_val.pkl"
    path.write_bytes(b"\x80\x04\x95\xff\n\xfe")
    with pytest.raises(DataError, match=r"is a pickle.*`aqr convert-infos \S+ --out nuscenes_infos_val.jsonl`"):
        load_ground_truth(path)
