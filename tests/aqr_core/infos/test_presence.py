"""The quick look at the boxes agrees with the parsed records, and never hides a wrong one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aqr_core.errors import DataError
from aqr_core.infos import build_infos, open_infos
from aqr_core.infos.presence import Presence


@pytest.fixture
def path(tiny_root, tmp_path):
    return build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]


def parsed(infos):
    presence = Presence.empty(len(infos), len(infos.header.classes))
    for frame, info in enumerate(infos):
        presence.mark(frame, info.gt)
    return presence


def assert_same(infos):
    quick, slow = infos.presence(), parsed(infos)
    np.testing.assert_array_equal(quick.annotated, slow.annotated)
    np.testing.assert_array_equal(quick.valid, slow.valid)


def test_by_hand(path):
    presence = open_infos(path).presence()
    car, barrier = 0, 5
    assert np.argwhere(presence.annotated).tolist() == [[0, car], [0, barrier], [1, car]]
    assert np.argwhere(presence.valid).tolist() == [[0, car], [1, car]]  # no point lies in the barrier


def test_real_frames(scene0523_root, tmp_path):
    infos = build_infos(scene0523_root, "v1.0-trainval", tmp_path, splits=["val"], require_files=False)["val"]
    assert_same(open_infos(infos))


def test_real_pickles(shared_dir):
    mmdet3d = shared_dir / "data/mmdet3d"
    assert_same(open_infos(next((mmdet3d / "demo/data/nuscenes").glob("*.pkl"))))
    assert_same(open_infos(mmdet3d / "tests/data/nuscenes/nus_info.pkl"))


def rewrite(path, change, separators=(",", ":")):
    header, first, second = path.read_text().splitlines()
    record = json.loads(first)
    change(record)
    path.write_text("\n".join([header, json.dumps(record, separators=separators), second]) + "\n")
    return open_infos(path)


def test_a_record_in_another_layout_is_parsed(path):
    assert_same(rewrite(path, lambda record: None, separators=(", ", ": ")))
    assert_same(rewrite(path, lambda record: record.update(gt=record.pop("gt"), token='"valid":[true]')))
    assert_same(rewrite(path, lambda record: record["gt"]["attributes"].__setitem__(0, '"labels":[9]')))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gt: gt.update(labels=[0, 10]), "labels' holds 10, a label outside 0..9"),
        (lambda gt: gt.update(labels=[0, -1]), "labels' holds -1"),
        (lambda gt: gt.update(labels=[0]), "labels' has shape"),
        (lambda gt: gt.update(valid=[True]), "valid' has shape"),
        (lambda gt: gt.pop("valid"), "valid' is missing"),
    ],
)
def test_wrong_boxes_are_named(path, change, message):
    infos = rewrite(path, lambda record: change(record["gt"]))
    with pytest.raises(DataError, match=message):
        infos.presence()
