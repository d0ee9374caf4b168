"""Databases as mmdetection3d and CMT write them, made from one of ours."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aqr_core.data.database import ObjectDatabase
from aqr_core.errors import DataError
from aqr_core.structures.boxes3d import gravity_to_bottom

Records = dict[str, list[dict[str, Any]]]


@pytest.fixture
def write(database: ObjectDatabase, tmp_path: Path) -> Callable[..., Path]:
    """`write(change=None, columns=5, images=False)`: the pickle, its files beside it."""

    def build(change: Callable[[Records], None] | None = None, columns: int = 5, images: bool = False) -> Path:
        folder = tmp_path / "nuscenes_gt_database"
        folder.mkdir()
        records: Records = {}
        boxes = gravity_to_bottom(database.boxes).astype(np.float32)
        for i, box in enumerate(boxes):
            name = database.classes[database.labels[i]]
            points = database.points(i)
            points[:, 2] += database.boxes[i, 5] / 2
            path = f"nuscenes_gt_database/0_{name}_{i}.bin"
            points[:, :columns].tofile(tmp_path / path)
            record = {
                "name": name,
                "path": path,
                "image_idx": 0,
                "gt_idx": i,
                "box3d_lidar": box,
                "num_points_in_gt": len(points),
                "difficulty": np.int32(0),
                "group_id": i,
            }
            if images:
                record["image_path"] = f"nuscenes_gt_database/0_{name}_{i}.png" if database.with_image[i] else ""
                if database.with_image[i]:
                    cv2.imwrite(str(tmp_path / record["image_path"]), database.image(i))
            records.setdefault(name, []).append(record)
        if change:
            change(records)
        path = tmp_path / "nuscenes_dbinfos_train.pkl"
        path.write_bytes(pickle.dumps(records))
        return path

    return build


def _by_class(database: ObjectDatabase) -> np.ndarray:
    """The order of a pickle: class after class."""
    return np.argsort(database.labels, kind="stable")


def test_points_and_boxes_come_back(database, write, caplog):
    read = ObjectDatabase.open(write())
    order = _by_class(database)
    np.testing.assert_allclose(read.boxes, database.boxes[order], atol=1e-5)
    np.testing.assert_array_equal(read.labels, database.labels[order])
    np.testing.assert_array_equal(read.num_points, database.num_points[order])
    for mine, theirs in enumerate(order):
        np.testing.assert_allclose(read.points(mine), database.points(theirs), atol=1e-5)
        assert read.image(mine) is None
    assert not read.has_images and "names no image crops" in caplog.text


def test_crops_come_back(database, write):
    read = ObjectDatabase.open(write(images=True))
    assert read.has_images
    for mine, theirs in enumerate(_by_class(database)):
        assert read.with_image[mine] == database.with_image[theirs]
        if database.with_image[theirs]:
            np.testing.assert_array_equal(read.image(mine), database.image(theirs))


def test_it_pickles_for_workers(write):
    read = ObjectDatabase.open(write(images=True))
    copy = pickle.loads(pickle.dumps(read))
    np.testing.assert_array_equal(copy.boxes, read.boxes)
    np.testing.assert_array_equal(copy.points(3), read.points(3))


def test_files_of_four_columns_have_no_age(write):
    points = ObjectDatabase.open(write(columns=4)).points(0)
    assert points.shape[1] == 5 and (points[:, 4] == 0).all() and points[:, 3].any()


def test_boxes_without_velocity_have_an_unknown_one(database, write):
    def cut(records: Records) -> None:
        for record in records["car"]:
            record["box3d_lidar"] = record["box3d_lidar"][:7]

    read = ObjectDatabase.open(write(cut))
    assert np.isnan(read.boxes[read.labels == 0, 7:]).all()
    assert np.isfinite(read.boxes[read.labels == 1]).all()


def to_wlh(records: Records) -> None:
    for group in records.values():
        for record in group:
            x, y, z, length, width, height, yaw, *velocity = record["box3d_lidar"].tolist()
            record["box3d_lidar"] = np.array([x, y, z, width, length, height, -yaw - np.pi / 2, *velocity])


def test_boxes_of_the_old_convention_are_converted_and_told(database, write, caplog):
    read = ObjectDatabase.open(write(to_wlh))
    np.testing.assert_allclose(read.boxes, database.boxes[_by_class(database)], atol=1e-5)
    assert "boxes of the old convention (w, l, h, -yaw - pi/2); they are converted" in caplog.text


def test_a_wrong_convention_is_refused(write):
    path = write(to_wlh)
    with pytest.raises(DataError, match="should hold 'lwh' boxes, but of .* which means 'wlh'"):
        ObjectDatabase.open(path, box_convention="lwh")


def test_paths_may_start_at_the_dataroot(write, tmp_path):
    path = write()
    elsewhere = tmp_path / "elsewhere" / path.name
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    assert len(ObjectDatabase.open(elsewhere, dataroot=tmp_path).points(0))
    with pytest.raises(DataError, match=r"64 of 64 files looked for are absent, nuscenes_gt_database/0_car_\d+.bin is"):
        ObjectDatabase.open(elsewhere)
    with pytest.raises(DataError, match=rf"is not in {elsewhere.parent} nor in {tmp_path}/no; put the database's"):
        ObjectDatabase.open(elsewhere, dataroot=tmp_path / "no")


def test_a_file_that_vanishes_later_is_named(write):
    path = write()
    read = ObjectDatabase.open(path)
    for file in (path.parent / "nuscenes_gt_database").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"0_car_\d+.bin of object 0 does not exist; restore the database's folder"):
        read.points(0)


def test_a_cut_point_file_is_named(write):
    path = write()
    file = next((path.parent / "nuscenes_gt_database").glob("*_car_*"))
    read = ObjectDatabase.open(path)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"0_car_\d+.bin has \d+ bytes, which are not \d+ points of 4 or 5 float32"):
        for i in range(len(read)):
            read.points(i)


def test_points_about_another_origin_are_refused(write):
    def lift(records: Records) -> None:
        for group in records.values():
            for record in group:
                record["box3d_lidar"][2] += record["box3d_lidar"][5] / 2
                file = folder / record["path"]
                points = np.fromfile(file, np.float32).reshape(-1, 5)
                points[:, 2] -= record["box3d_lidar"][5] / 2
                points.tofile(file)

    folder = write().parent
    path = folder / "nuscenes_dbinfos_train.pkl"
    records = pickle.loads(path.read_bytes())
    lift(records)
    path.write_bytes(pickle.dumps(records))
    with pytest.raises(DataError, match="lie in the boxes they belong to: the points are not relative to the bottom"):
        ObjectDatabase.open(path)


def test_other_classes_are_left_out_and_told(write, caplog):
    def add(records: Records) -> None:
        records["animal"] = [{"name": "animal"}] * 3

    with caplog.at_level(logging.WARNING):
        read = ObjectDatabase.open(write(add))
    assert read.classes[0] == "car" and "left out objects of other classes: {'animal': 3}" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "is no object database: expected lists of objects by class name"),
        ({"animal": [{}]}, r"holds no object of the ten classes, only {'animal': 1}"),
        ({}, "holds no object of the ten classes, only nothing"),
        ({"infos": 3}, "is no object database"),
        ({"car": [{"path": "a"}]}, "object 0: field 'box3d_lidar' is missing"),
        ({"car": [{"box3d_lidar": np.ones(5)}]}, r"object 0: box3d_lidar has shape \(5,\), not 7 or 9"),
        ({"car": [{"box3d_lidar": np.zeros(7)}]}, r"object 0: box3d_lidar is \[0.0"),
        ({"car": [3]}, "object 0: .*int.*subscriptable"),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, message):
    path = tmp_path / "x_dbinfos_train.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        ObjectDatabase.open(path)


class _Bomb:
    def __reduce__(self):
        return print, ("ran",)


def test_pickles_with_code_are_refused(tmp_path, capsys):
    path = tmp_path / "x_dbinfos_train.pkl"
    path.write_bytes(pickle.dumps({"car": [_Bomb()]}))
    with pytest.raises(DataError, match=r"wants the Python object 'builtins.print'"):
        ObjectDatabase.open(path)
    assert capsys.readouterr().out == ""
    path.write_bytes(pickle.dumps({"car": [1]})[:-3])
    with pytest.raises(DataError, match="is no complete pickle"):
        ObjectDatabase.open(path)
