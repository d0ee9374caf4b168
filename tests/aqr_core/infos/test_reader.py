from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from aqr_core.errors import DataError
from aqr_core.infos import Infos, build_infos, open_infos
from aqr_core.infos.schema import info_to_record


@pytest.fixture
def path(tiny_root, tmp_path):
    return build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]


def test_round_trip(path):
    line = path.read_text().splitlines()[1]
    info = open_infos(path)[0]
    assert info_to_record(info) == json.loads(line)
    assert "NaN" not in line  # unknown velocities are null


def test_is_a_sequence(path):
    infos = Infos.open(path)
    assert len(infos) == 2
    assert infos[-1].token == "sample1"
    assert [info.token for info in infos[:1]] == ["sample0"]
    assert [info.token for info in infos] == ["sample0", "sample1"]
    with pytest.raises(IndexError, match="keyframe 2 of 2"):
        infos[2]


def test_pickles_for_workers(path):
    copy = pickle.loads(pickle.dumps(Infos.open(path)))
    assert copy[1].token == "sample1"
    assert copy.header.split == "mini_val"


def test_records_are_read_when_asked_for(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], '{"token": 3}']) + "\n")
    infos = Infos.open(path)
    assert infos[0].token == "sample0"
    with pytest.raises(DataError, match=rf"{path.name}:3: field 'lidar' is missing"):
        infos[1]


def mirrored(matrix):
    return (np.diag([-1.0, 1, 1, 1]) @ matrix).tolist()


def set_to(*keys, value):
    def change(record):
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value(record[keys[-1]]) if callable(value) else value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("ego2global"), "field 'ego2global' is missing"),
        (set_to("token", value=5), "field 'token' is 5, not a string"),
        (set_to("timestamp", value="now"), "field 'timestamp' is 'now', not a finite number"),
        (set_to("timestamp", value=float("nan")), "field 'timestamp' is nan"),
        (set_to("cameras", "CAM_FRONT", "lidar2cam", value=mirrored), r"CAM_FRONT\.lidar2cam' is no rigid .* -1\.0000"),
        (
            set_to("cameras", "CAM_FRONT", "lidar2cam", value=lambda m: m[:3]),
            r"lidar2cam' has shape \(3, 4\), not 4 x 4",
        ),
        (set_to("cameras", "CAM_BACK", "lidar2cam", 0, 0, value=None), r"CAM_BACK\.lidar2cam' holds NaN"),
        (set_to("cameras", "CAM_BACK", "lidar2cam", 3, 0, value=1.0), r"CAM_BACK\.lidar2cam' has the last row"),
        (set_to("cameras", "CAM_BACK", "cam2img", 0, 0, value=-40.0), r"CAM_BACK\.cam2img' is no camera matrix"),
        (lambda r: r["cameras"].pop("CAM_BACK"), r"'cameras\.CAM_BACK' is missing"),
        (set_to("cameras", "CAM_BACK", "width", value=0), r"CAM_BACK\.width' is 0, not a whole number from 1"),
        (set_to("lidar", "num_features", value=4), r"'lidar\.num_features' is 4, not a whole number from 5"),
        (set_to("lidar", value=[]), "field 'lidar' is list, not an object"),
        (set_to("sweeps", 0, "age", value=-0.1), r"'sweeps\[0\]\.age' is -0\.1, not a finite number from 0"),
        (set_to("sweeps", value={}), "field 'sweeps' is not a list"),
        (set_to("gt", "labels", 0, value=-1), r"'gt\.labels' holds -1, a label outside 0\.\.9"),
        (set_to("gt", "labels", 0, value="car"), r"'gt\.labels' does not convert to an array of int64"),
        (set_to("gt", "labels", value=[]), r"'gt\.labels' has shape \(0,\), not 1"),
        (set_to("gt", "boxes", 0, 0, value=None), r"'gt\.boxes' holds NaN outside the velocity"),
        (set_to("gt", "boxes", 0, 3, value=0.0), r"'gt\.boxes' holds a size that is not positive"),
        (set_to("gt", "attributes", value=[]), r"'gt\.attributes' has 0 entries for 1 boxes"),
        (set_to("gt", "attributes", value=[None]), r"'gt\.attributes' is not a list of strings"),
    ],
)
def test_wrong_fields_are_named_with_file_and_line(path, change, message):
    lines = path.read_text().splitlines()
    record = json.loads(lines[2])
    change(record)
    path.write_text("\n".join([*lines[:2], json.dumps(record)]) + "\n")
    with pytest.raises(DataError, match=rf"{path.name}:3: .*{message}.*aqr prepare"):
        Infos.open(path)[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"infos\.jsonl:1: "),
        ('{"format": "other"}\n', "field 'header.format' is 'other', not 'aqr-infos'"),
        ('{"format": "aqr-infos", "version": 2}\n', "header.version' is 2; this release reads version 1"),
        ('{"format": "aqr-infos", "version"', r"infos\.jsonl:1: the file ends in the middle of a record"),
    ],
)
def test_not_an_infos_file(tmp_path, content, message):
    path = tmp_path / "infos.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        open_infos(path)


def test_a_cut_file_is_noticed(path):
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r":3: the file ends in the middle of a record"):
        open_infos(path)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl does not exist; make it with `aqr prepare`\.$"):
        open_infos(tmp_path / "nowhere.jsonl")


def test_absent_file_of_another_split_or_folder(tmp_path):
    for split in ("val", "train"):
        (tmp_path / f"infos_{split}.jsonl").touch()
    with pytest.raises(DataError, match=r"make it with `aqr prepare`, or take one of infos_train\.jsonl, infos_val"):
        open_infos(tmp_path / "infos_vall.jsonl")
    with pytest.raises(DataError, match=r"does not exist, nor does its folder; correct the dataroot"):
        open_infos(tmp_path / "elsewhere" / "infos_val.jsonl")
