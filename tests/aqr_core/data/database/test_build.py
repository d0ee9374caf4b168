from __future__ import annotations

import filecmp
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.build import build_object_database
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.loading import LoadPointsFromFile, LoadPointsFromMultiSweeps
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import open_infos
from aqr_core.structures.boxes3d import points_in_boxes

Synthetic = tuple[Path, Path]


def test_objects_are_the_boxes_and_points_of_the_frames(synthetic: Synthetic, database: ObjectDatabase) -> None:
    """The synthetic LiDAR has no returns of the vehicle itself, so the frames of training show the same points."""
    root, infos = synthetic
    tokens = np.load(database.path / "tokens.npy").astype(str)[:, 0]
    objects = iter(range(len(database)))
    for info in open_infos(infos):
        frame = Frame(info, root, np.random.default_rng(0))
        LoadPointsFromFile()(frame)
        LoadPointsFromMultiSweeps(test_mode=True)(frame)
        inside = points_in_boxes(frame.points, info.gt.boxes)
        for k in np.flatnonzero(info.gt.valid & inside.any(axis=0)):
            i = next(objects)
            assert tokens[i] == info.token and database.labels[i] == info.gt.labels[k]
            np.testing.assert_array_equal(database.boxes[i], info.gt.boxes[k])
            points = database.points(i)
            np.testing.assert_array_equal(points[:, 3:], frame.points[inside[:, k], 3:])
            np.testing.assert_allclose(points[:, :3] + database.boxes[i, :3], frame.points[inside[:, k], :3], atol=1e-5)
    assert next(objects, None) is None
    assert len(np.unique(database.points(len(database) - 1)[:, 4])) > 1  # sweeps are in


def test_objects_have_crops(database: ObjectDatabase) -> None:
    assert database.has_images and database.with_image.mean() > 0.5
    for i in np.flatnonzero(database.with_image):
        image = database.image(i)
        assert image.dtype == np.uint8 and min(image.shape[:2]) > 10


@pytest.mark.slow
def test_workers_do_not_change_a_byte(synthetic: Synthetic, database: ObjectDatabase, tmp_path: Path) -> None:
    done = []
    built = build_object_database(*synthetic, tmp_path / "b", workers=2, progress=lambda *state: done.append(state))
    names = sorted(file.name for file in built.path.iterdir())
    assert filecmp.cmpfiles(database.path, built.path, names, shallow=False)[0] == names and len(names) == 8
    assert done == [("b", count, 6) for count in range(1, 7)]


def test_a_database_of_the_same_infos_is_kept_and_another_one_replaced(synthetic: Synthetic, tmp_path: Path) -> None:
    out, done = tmp_path / "db", []
    built = build_object_database(*synthetic, out, images=False, workers=1)
    assert not built.has_images and not built.with_image.any()
    inode = (out / "meta.json").stat().st_ino
    build_object_database(*synthetic, out, images=False, workers=1, progress=lambda *state: done.append(state))
    assert (out / "meta.json").stat().st_ino == inode and done == [("db", 6, 6)]
    fewer = build_object_database(*synthetic, out, images=False, workers=1, sweeps_num=0)
    assert fewer.num_points.sum() < built.num_points.sum()
    assert json.loads((out / "meta.json").read_text())["sweeps_num"] == 0
    other = tmp_path / "infos.jsonl"
    other.write_bytes(b"".join(synthetic[1].read_bytes().splitlines(keepends=True)[:2]))
    assert len(build_object_database(synthetic[0], other, out, images=False, workers=1)) < len(fewer)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_damaged_database_is_replaced(synthetic: Synthetic, tmp_path: Path) -> None:
    points = build_object_database(*synthetic, tmp_path / "db", images=False, workers=1).points(0)
    (tmp_path / "db" / "points.bin").write_bytes(b"cut")
    again = build_object_database(*synthetic, tmp_path / "db", images=False, workers=1)
    np.testing.assert_array_equal(again.points(0), points)


@pytest.mark.parametrize("content", [None, "{}", '{"format": "aqr-checkpoint", "version": 1}', "[", "[1]"])
def test_another_folder_is_not_written_over(synthetic: Synthetic, tmp_path: Path, content: str | None) -> None:
    (tmp_path / "precious").touch()
    if content is not None:
        (tmp_path / "meta.json").write_text(content)
    with pytest.raises(DataError, match="exists and is no object database; remove it or choose another folder"):
        build_object_database(*synthetic, tmp_path)
    assert (tmp_path / "precious").exists()


def test_lidar_alone_is_enough_without_images(synthetic: Synthetic, tmp_path: Path) -> None:
    root = tmp_path / "lidar"
    for folder in ("samples", "sweeps"):
        shutil.copytree(synthetic[0] / folder / "LIDAR_TOP", root / folder / "LIDAR_TOP", copy_function=os.link)
    with pytest.raises(DataError, match=r"CAM_\w+.* does not exist.* without images \(`--no-images`\)"):
        build_object_database(root, synthetic[1], tmp_path / "db", workers=1)
    assert not list(tmp_path.glob("*db*")) and not list(tmp_path.glob(".*"))  # nothing half done is left
    assert len(build_object_database(root, synthetic[1], tmp_path / "db", workers=1, images=False)) > 0


def test_a_split_without_boxes_is_refused(synthetic: Synthetic, tmp_path: Path) -> None:
    lines = synthetic[1].read_text().splitlines()[:2]
    record = json.loads(lines[1])
    for key in record["gt"]:
        record["gt"][key] = []
    path = tmp_path / "infos.jsonl"
    path.write_text(f"{lines[0]}\n{json.dumps(record)}\n")
    with pytest.raises(DataError, match="None of the 1 keyframes .* has a box with a point in it"):
        build_object_database(synthetic[0], path, tmp_path / "db", workers=1)
    assert not (tmp_path / "db").exists()


def test_arguments_out_of_range(synthetic: Synthetic, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sweeps_num is -1; give 0 or more"):
        build_object_database(*synthetic, tmp_path / "db", sweeps_num=-1)
    with pytest.raises(ConfigError, match="workers is 0; give 1 or more"):
        build_object_database(*synthetic, tmp_path / "db", workers=0)
