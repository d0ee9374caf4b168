"""Writes an object database as mmdetection3d keeps it: a pickle of records beside a folder of point files.

Fields, file names and conventions are those of mmdet3d's `create_data.py`, so that its unmodified `DataBaseSampler`
samples from it; where there are image crops, `image_path` names them as in CMT's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aqr_core.checkpoint import replacing_file, replacing_folder
from aqr_core.data.database.objects import ObjectDatabase
from aqr_core.errors import ConfigError
from aqr_core.infos.plain_pickle import write_plain_pickle
from aqr_core.structures.boxes3d import DZ, gravity_to_bottom

_NAME = re.compile(r"(?P<name>.+)_dbinfos_[^/]+\.pkl")

Progress = Callable[[str, int, int], None]  # name of the database, objects done, objects in all


def points_folder(path: Path) -> Path:
    """`NAME_dbinfos_SPLIT.pkl` -> `NAME_gt_database` beside it.

    Raises:
        ConfigError: the pickle is named otherwise.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ConfigError(
            f"{path} is not named NAME_dbinfos_SPLIT.pkl, by which mmdet3d's databases are known; name it like "
            "nuscenes_dbinfos_train.pkl."
        )
    return path.with_name(f"{match['name']}_gt_database")


def write_mmdet3d_database(database: ObjectDatabase, path: Path, progress: Progress | None = None) -> None:
    """Write the pickle and its folder; the pickle, which makes them a database, appears last.

    Args:
        database: the objects; their records are made one at a time.
        path: `NAME_dbinfos_SPLIT.pkl`.
        progress: called after each object.

    Raises:
        ConfigError: the pickle is named otherwise.
        DataError: a file of the database is missing or damaged.
    """
    folder = points_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing_file(path) as unfinished,
        unfinished.open("wb") as file,
        replacing_folder(folder) as files,
    ):
        write_plain_pickle(file, _Records(database, files, folder.name, path.name, progress).by_class())


class _Records:
    """Writes the files of an object, then hands out its record."""

    def __init__(
        self, database: ObjectDatabase, files: Path, folder: str, name: str, progress: Progress | None
    ) -> None:
        self._database = database
        self._files = files
        self._folder = folder
        self._name = name
        self._progress = progress
        self._done = 0
        # mmdet3d writes zero for an unknown velocity, and could not train with another sign for it.
        self._boxes = np.nan_to_num(gravity_to_bottom(database.boxes), nan=0.0).astype(np.float32)

    def by_class(self) -> dict[str, Iterator[dict[str, Any]]]:
        """Class name -> its records; a class without objects is not mentioned."""
        present = np.unique(self._database.labels)
        return {self._database.classes[label]: self._of_class(label) for label in present.tolist()}

    def _of_class(self, label: int) -> Iterator[dict[str, Any]]:
        for index in np.flatnonzero(self._database.labels == label).tolist():
            yield self._record(index, self._database.classes[label])
            self._done += 1
            if self._progress:
                self._progress(self._name, self._done, len(self._database))

    def _record(self, index: int, class_name: str) -> dict[str, Any]:
        database, stem = self._database, f"{index}_{class_name}"
        points = database.points(index)
        points[:, 2] += np.float32(database.boxes[index, DZ] / 2)
        points.tofile(self._files / f"{stem}.bin")
        record = {
            "name": class_name,
            "path": f"{self._folder}/{stem}.bin",
            # Which keyframe and which of its boxes it was is not known here, and no sampler asks.
            "image_idx": index,
            "gt_idx": 0,
            "box3d_lidar": self._boxes[index],
            "num_points_in_gt": len(points),
            "difficulty": int(database.difficulty[index]),
            "group_id": index,
        }
        if database.has_images:
            record["image_path"] = ""
            if stored := database.stored_image(index):
                (self._files / f"{stem}.jpg").write_bytes(stored)
                record["image_path"] = f"{self._folder}/{stem}.jpg"
        return record
