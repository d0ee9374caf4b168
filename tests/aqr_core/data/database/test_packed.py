from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.packed import KeyframeObjects, PackedWriter
from aqr_core.errors import DataError

CLASSES = ("car", "bus")


def _points(count: int) -> np.ndarray:
    return np.arange(count * 5, dtype=np.float32).reshape(count, 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bus of 3 points with a grey crop, a car of 1 point without, and a car of 2 points in another keyframe."""
    grey = cv2.imencode(".jpg", np.full((12, 20, 3), 90, np.uint8))[1].tobytes()
    boxes = np.arange(27.0).reshape(3, 9)
    boxes[1, 7:] = np.nan
    path = tmp_path / "objects"
    path.mkdir()
    with PackedWriter(path) as writer:
        writer.append(
            KeyframeObjects("key0", ("i0", "i1"), boxes[:2], np.array([1, 0]), [_points(3), _points(1)], [grey, b""])
        )
        writer.append(KeyframeObjects("empty", (), np.zeros((0, 9)), np.zeros(0, np.int64), [], []))
        writer.append(KeyframeObjects("key2", ("",), boxes[2:], np.array([0]), [_points(2)], [b""]))
        writer.finish(CLASSES, has_images=True, origin={"source": "tables"})
    return path


def test_what_is_written_is_read(folder: Path) -> None:
    database = ObjectDatabase.open(folder)
    assert len(database) == 3 and database.classes == CLASSES and database.has_images
    assert database.labels.tolist() == [1, 0, 0]
    assert database.num_points.tolist() == [3, 1, 2]
    assert database.difficulty.tolist() == [0, 0, 0]
    assert database.with_image.tolist() == [True, False, False]
    np.testing.assert_array_equal(database.boxes[2], np.arange(18.0, 27.0))
    assert np.isnan(database.boxes[1, 7:]).all()
    for index, count in enumerate((3, 1, 2)):
        np.testing.assert_array_equal(database.points(index), _points(count))
    assert database.image(0).shape == (12, 20, 3) and (database.image(0) == 90).all()
    assert database.image(1) is None
    tokens = np.load(folder / "tokens.npy").astype(str).tolist()
    assert tokens == [["key0", "i0"], ["key0", "i1"], ["key2", ""]]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["objects"] == {"car": 2, "bus": 1} and meta["images"] == {"car": 0, "bus": 1}


def test_points_are_a_copy(folder: Path) -> None:
    database = ObjectDatabase.open(folder)
    database.points(0)[:] = -1
    np.testing.assert_array_equal(database.points(0), _points(3))


def test_no_crop_at_all(tmp_path: Path) -> None:
    with PackedWriter(tmp_path) as writer:
        writer.append(KeyframeObjects("key", ("",), np.ones((1, 9)), np.array([0]), [_points(1)], [b""]))
        writer.finish(CLASSES, has_images=False, origin={})
    database = ObjectDatabase.open(tmp_path)
    assert not database.has_images and database.image(0) is None


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_get_the_path_alone(database: ObjectDatabase, start: str) -> None:
    assert len(pickle.dumps(database)) < 500
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(start)) as pool:
        points = pool.submit(database.points, 5).result()
    np.testing.assert_array_equal(points, database.points(5))


def test_a_cut_file_is_refused(folder: Path) -> None:
    points = folder / "points.bin"
    points.write_bytes(points.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"points.bin has 116 bytes, not 120: it was cut short.*--gt-database"):
        ObjectDatabase.open(folder)


def test_an_absent_or_foreign_table_is_refused(folder: Path, database: ObjectDatabase) -> None:
    shutil.copy(database.path / "labels.npy", folder)
    with pytest.raises(DataError, match="a mixture"):
        ObjectDatabase.open(folder)
    (folder / "labels.npy").unlink()
    (folder / "tokens.npy").unlink()
    with pytest.raises(DataError, match=r"lacks labels.npy, tokens.npy; "):
        ObjectDatabase.open(folder)


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent does not exist; make it with `aqr prepare --gt-database`"):
        ObjectDatabase.open(tmp_path / "absent")
    with pytest.raises(DataError, match=r"meta.json does not exist, so .* is no object database"):
        ObjectDatabase.open(tmp_path)
    meta = folder / "meta.json"
    meta.write_text(meta.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(DataError, match="version 2, this release reads 'aqr-objects' version 1"):
        ObjectDatabase.open(folder)
    meta.write_text("[]")
    with pytest.raises(DataError, match="is no object"):
        ObjectDatabase.open(folder)
    meta.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        ObjectDatabase.open(folder)


def test_a_damaged_crop_is_named(folder: Path) -> None:
    images = folder / "images.bin"
    images.write_bytes(bytes(images.stat().st_size))
    with pytest.raises(DataError, match="the crop of object 0 is damaged"):
        ObjectDatabase.open(folder).image(0)
