"""`convert_database`: ours as mmdet3d's, theirs as ours, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.conversion import convert_database
from aqr_core.data.database.packed import KeyframeObjects, PackedWriter
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos.unpickle import load_plain_pickle


@pytest.fixture
def exported(database: ObjectDatabase, tmp_path: Path) -> Path:
    return convert_database(database.path, tmp_path / "nuscenes_dbinfos_train.pkl").path


def by_class(database: ObjectDatabase) -> np.ndarray:
    return np.argsort(database.labels, kind="stable")


def edited(path: Path, change) -> Path:
    records = pickle.loads(path.read_bytes())
    change(records)
    path.write_bytes(pickle.dumps(records))
    return path


def test_a_record_is_as_theirs(database, exported):
    records = load_plain_pickle(exported)
    assert list(records) == [
        name for name in database.classes if (database.labels == database.classes.index(name)).any()
    ]
    assert sum(map(len, records.values())) == len(database)
    index = int(np.flatnonzero(database.labels == 0)[0])
    box, record = database.boxes[index], records["car"][0]
    assert record["name"] == "car" and record["path"] == f"nuscenes_gt_database/{index}_car.bin"
    assert record["num_points_in_gt"] == database.num_points[index] and record["difficulty"] == 0
    bottom = [box[0], box[1], box[2] - box[5] / 2, *box[3:]]
    np.testing.assert_allclose(record["box3d_lidar"], bottom, rtol=0, atol=1e-5)
    assert record["box3d_lidar"].dtype == np.float32
    stored = np.fromfile(exported.parent / record["path"], "<f4").reshape(-1, 5)
    np.testing.assert_allclose(stored[:, 2], database.points(index)[:, 2] + box[5] / 2, rtol=0, atol=1e-6)


def test_only_whole_numbers_and_float32_are_lost_there_and_back(database, exported, tmp_path):
    done = convert_database(exported, tmp_path / "back")
    back = ObjectDatabase.open(done.path)
    assert done.left_behind == ("the numbers image_idx, gt_idx and group_id",)
    assert back.has_images and len(back) == len(database)
    for index, mine in enumerate(by_class(database)):
        np.testing.assert_allclose(back.boxes[index], database.boxes[mine], rtol=0, atol=1e-5)
        np.testing.assert_allclose(back.points(index), database.points(mine), rtol=0, atol=1e-6)
        assert back.stored_image(index) == database.stored_image(mine)  # not encoded a second time
    meta = json.loads((done.path / "meta.json").read_text())
    assert meta["converted_from"] == exported.name


def test_what_theirs_cannot_hold_is_told(database, tmp_path):
    done = convert_database(database.path, tmp_path / "a_dbinfos_train.pkl")
    assert done.objects == len(database)
    assert done.left_behind == (
        "the tokens of samples and tracks",
        "the order of the keyframes: objects stand class by class",
        "digits of the boxes beyond float32",
    )


def test_an_unknown_velocity_becomes_zero_and_is_told(database, tmp_path):
    folder = tmp_path / "unknown"
    folder.mkdir()
    for file in database.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    boxes = database.boxes.copy()
    boxes[:2, 7:] = np.nan
    np.save(folder / "boxes.npy", boxes)
    done = convert_database(folder, tmp_path / "a_dbinfos_train.pkl")
    assert done.left_behind[0] == "that the velocity of 2 objects is unknown: it is zero there"
    assert np.isfinite(ObjectDatabase.open(done.path).boxes).all()


def test_a_database_without_crops_names_none(database, tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    for file in database.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "has_images": False}))
    path = convert_database(folder, tmp_path / "a_dbinfos_train.pkl").path
    assert all("image_path" not in record for records in load_plain_pickle(path).values() for record in records)
    assert list((tmp_path / "a_gt_database").glob("*.jpg")) == []


def test_png_crops_become_jpeg_and_that_is_told(database, exported, tmp_path):
    def to_png(records: dict) -> None:
        for record in records["car"]:
            image = cv2.imread(str(exported.parent / record["image_path"]))
            record["image_path"] = record["image_path"].replace(".jpg", ".png")
            cv2.imwrite(str(exported.parent / record["image_path"]), image)

    cars = int((database.labels == 0).sum())
    assert database.with_image[database.labels == 0].all()
    done = convert_database(edited(exported, to_png), tmp_path / "back")
    assert done.left_behind[0] == f"the exact pixels of {cars} crops: they are JPEG files now"
    back = ObjectDatabase.open(done.path)
    mine = int(by_class(database)[0])
    assert back.stored_image(0).startswith(b"\xff\xd8")
    assert np.abs(back.image(0).astype(int) - database.image(mine)).mean() < 3


def test_difficulties_are_told(exported, tmp_path):
    def mark(records: dict) -> None:
        for record in records["car"][:3]:
            record["difficulty"] = -1

    done = convert_database(edited(exported, mark), tmp_path / "back")
    assert done.left_behind[0] == "the difficulty of 3 objects: nothing leaves them out"


def test_progress_counts_objects(database, exported, tmp_path):
    seen = []
    convert_database(database.path, tmp_path / "b_dbinfos_train.pkl", progress=lambda *told: seen.append(told))
    assert seen[0] == ("b_dbinfos_train.pkl", 1, len(database))
    assert seen[-1] == ("b_dbinfos_train.pkl", len(database), len(database))
    convert_database(exported, tmp_path / "back", progress=lambda *told: seen.append(told))
    assert seen[-1] == ("back", len(database), len(database))


@pytest.mark.parametrize("name", ["train.pkl", "gt_database", "nuscenes_dbinfos_train", "_dbinfos_train.pkl"])
def test_other_names_for_theirs_are_refused(database, tmp_path, name):
    with pytest.raises(ConfigError, match=r"is not named NAME_dbinfos_SPLIT.pkl.*nuscenes_dbinfos_train.pkl"):
        convert_database(database.path, tmp_path / name)


def test_nothing_is_overwritten(database, exported, tmp_path):
    before = exported.read_bytes()
    with pytest.raises(ConfigError, match=r"nuscenes_dbinfos_train.pkl exists; remove it or choose another --out"):
        convert_database(database.path, exported)
    with pytest.raises(ConfigError, match=r"nuscenes_gt_database exists; remove it"):
        convert_database(database.path, tmp_path / "nuscenes_dbinfos_val.pkl")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match="taken exists; remove it"):
        convert_database(exported, tmp_path / "taken")
    assert exported.read_bytes() == before


def test_the_same_form_is_refused(exported, tmp_path):
    with pytest.raises(ConfigError, match=r"is in mmdet3d's form, like --out .*; give a folder to write ours to"):
        convert_database(exported, tmp_path / "x_dbinfos_train.pkl")


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing does not exist; make it with `aqr prepare --gt-database`"):
        convert_database(tmp_path / "nothing", tmp_path / "x")


def test_a_missing_point_file_leaves_no_folder(exported, tmp_path):
    """Opening looks at some of the files; the conversion needs every one."""
    paths = [record["path"] for records in load_plain_pickle(exported).values() for record in records]
    looked_at = set(np.unique(np.linspace(0, len(paths) - 1, 64).astype(int)))
    (exported.parent / paths[next(i for i in range(len(paths)) if i not in looked_at)]).unlink()
    with pytest.raises(DataError, match=r"\.bin of object \d+ does not exist; restore the database's folder"):
        convert_database(exported, tmp_path / "back")
    assert list(tmp_path.glob("*back*")) == []


def test_a_failure_half_way_leaves_neither_pickle_nor_folder(database, tmp_path):
    def fail(name: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_database(database.path, tmp_path / "x_dbinfos_train.pkl", progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_files_are_waited_for_at_once(tmp_path, monkeypatch):
    """Chunks of objects are written one after the other, the last one shorter; a million waits would take an hour."""
    count = 1100
    boxes = np.tile([0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0, 0.0, 0.0], (count, 1))
    boxes[:, 0] = np.arange(count)
    clouds = [np.full((1 + i % 3, 5), 0.1, np.float32) for i in range(count)]
    source = tmp_path / "many"
    source.mkdir()
    with PackedWriter(source) as writer:
        objects = KeyframeObjects("t", ("i",) * count, boxes, np.zeros(count, np.int64), clouds, [b""] * count)
        writer.append(objects)
        writer.finish(("car",), False, {})
    waits: list[str] = []
    monkeypatch.setattr(os, "sync", lambda: waits.append("disk"))
    monkeypatch.setattr(os, "fsync", lambda _: waits.append("file"))
    pickled = convert_database(source, tmp_path / "many_dbinfos_train.pkl").path
    assert waits.count("disk") == 1 and waits.count("file") < 10
    back = ObjectDatabase.open(convert_database(pickled, tmp_path / "back").path)
    assert waits.count("disk") == 1
    np.testing.assert_allclose(back.boxes, boxes, atol=1e-6)
    assert back.num_points.tolist() == [1 + i % 3 for i in range(count)]
