"""Reads the object databases of mmdetection3d and of CMT: a pickle of records beside a folder of small files.

A record is `{name, path, box3d_lidar, num_points_in_gt, difficulty, ...}`; CMT's own tool adds `image_path`, empty
where no camera shows the object. A box is given by its bottom centre, and its points are relative to that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aqr_core.data.database.table import ObjectTable
from aqr_core.data.files import read_image, read_points
from aqr_core.errors import DataError
from aqr_core.infos.box_convention import decide_convention
from aqr_core.infos.schema import POINT_FEATURES
from aqr_core.infos.unpickle import load_plain_pickle
from aqr_core.structures.boxes3d import BOX_DIM, DX, DZ, VX, bottom_to_gravity, legacy_wlh_to_box, points_in_boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

logger = logging.getLogger(__name__)

_SAMPLED = 64  # objects whose files are looked at when a database is opened; there may be a million
_INSIDE = 0.9  # share of their points that must lie in their boxes
_SLACK_M = 0.05  # float32 rounding at the faces
_REMEDY = "write the database again with the tool it came from, or build one with `aqr prepare --gt-database`"


class LooseFiles:
    """One file of points and perhaps one image per object.

    Args:
        root: folder that the paths are relative to.
        paths: (n, 2) bytes, point file and image file; empty where there is no image.
        num_points: (n,) points per object.
        half_heights: (n,) metres from the bottom centre to the gravity centre.
    """

    def __init__(self, root: Path, paths: np.ndarray, num_points: np.ndarray, half_heights: np.ndarray) -> None:
        self._root = root
        self._paths = paths
        self._num_points = num_points
        self._half_heights = half_heights

    def points(self, index: int) -> np.ndarray:
        """(P, 5) float32 about the gravity centre; a file of four columns has no age, which is 0 then."""
        path, count = self._path(index, 0), int(self._num_points[index])
        points = np.zeros((count, POINT_FEATURES), np.float32)
        if count:
            stored = read_points(path, self._columns(path, count))[:, :POINT_FEATURES]
            points[:, : stored.shape[1]] = stored
            points[:, 2] -= self._half_heights[index]
        return points

    def image(self, index: int) -> np.ndarray | None:
        """(h, w, 3) uint8 BGR, or None."""
        return read_image(self._path(index, 1)) if self._paths[index, 1] else None

    def stored_image(self, index: int) -> bytes:
        """The crop as the file that it is, empty where there is none."""
        return self._path(index, 1).read_bytes() if self._paths[index, 1] else b""

    def _path(self, index: int, kind: int) -> Path:
        path = self._root / self._paths[index, kind].decode()
        if not path.is_file():
            raise DataError(f"{path} of object {index} does not exist; restore the database's folder.")
        return path

    @staticmethod
    def _columns(path: Path, count: int) -> int:
        columns, rest = divmod(path.stat().st_size, 4 * count)
        if rest or columns < POINT_FEATURES - 1:
            raise DataError(
                f"{path} has {path.stat().st_size} bytes, which are not {count} points of 4 or 5 float32 each as its "
                f"record says; {_REMEDY}."
            )
        return columns


def open_dbinfos(path: Path, dataroot: Path | None, box_convention: str | None) -> tuple[ObjectTable, LooseFiles]:
    """Read a pickle and look at the files of a few objects.

    Args:
        path: `*_dbinfos_*.pkl`.
        dataroot: where its paths may start, besides the pickle's own folder.
        box_convention: 'lwh' or 'wlh'; without it the proportions of the vehicles decide.

    Raises:
        DataError: no such pickle, one that wants more than containers and numpy, no object of the ten classes,
            undecidable boxes, absent files, or points that are not in their boxes.
    """
    content = load_plain_pickle(path)
    if not isinstance(content, Mapping) or not all(isinstance(records, Sequence) for records in content.values()):
        raise DataError(f"{path} is no object database: expected lists of objects by class name; give another file.")
    records = [record for name in DETECTION_CLASSES for record in content.get(name, ())]
    others = {str(name): len(content[name]) for name in content if name not in DETECTION_CLASSES}
    if not records:
        raise DataError(f"{path} holds no object of the ten classes, only {others or 'nothing'}; give another file.")
    if others:
        logger.warning("%s: left out objects of other classes: %s", path, others)
    counts = [len(content.get(name, ())) for name in DETECTION_CLASSES]
    labels = np.repeat(np.arange(len(DETECTION_CLASSES)), counts)
    boxes, num_points, difficulty, paths = _columns_of(path, records)
    boxes = _in_our_convention(path, boxes, labels, box_convention)
    with_image = paths[:, 1] != b""
    if not with_image.any():
        logger.warning("%s names no image crops: objects can be pasted into point clouds only", path)
    table = ObjectTable(DETECTION_CLASSES, boxes, labels, num_points, difficulty, with_image, bool(with_image.any()))
    files = LooseFiles(_find_root(path, dataroot, paths), paths, num_points, boxes[:, DZ] / 2)
    _check_points(path, table, files)
    return table, files


def _columns_of(path: Path, records: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, 9) boxes as they stand in the file, (n,) points, (n,) difficulties, (n, 2) paths.

    A box without velocity columns gets an unknown velocity.
    """
    boxes = np.full((len(records), BOX_DIM), np.nan)
    counts = np.zeros((2, len(records)), np.int64)
    paths: list[tuple[bytes, bytes]] = []
    for i, record in enumerate(records):
        try:
            box = np.asarray(record["box3d_lidar"], np.float64)
            if box.shape not in ((VX,), (BOX_DIM,)):
                raise ValueError(f"box3d_lidar has shape {box.shape}, not 7 or 9 numbers")
            if not np.isfinite(box[:VX]).all() or not (box[DX : DZ + 1] > 0).all():
                raise ValueError(f"box3d_lidar is {box.tolist()}")
            boxes[i, : len(box)] = box
            counts[:, i] = record["num_points_in_gt"], record.get("difficulty", 0)
            paths.append((str(record["path"]).encode(), str(record.get("image_path", "")).encode()))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}, object {i}: {problem}; {_REMEDY}.") from error
    return boxes, *counts, np.array(paths, np.bytes_)


def _in_our_convention(path: Path, boxes: np.ndarray, labels: np.ndarray, told: str | None) -> np.ndarray:
    names = [DETECTION_CLASSES[label] for label in labels]
    convention = decide_convention(path, told, [(names, boxes[:, DX:DZ])])
    if convention == "wlh":
        logger.warning("%s holds boxes of the old convention (w, l, h, -yaw - pi/2); they are converted", path)
        boxes = legacy_wlh_to_box(boxes)
    return bottom_to_gravity(boxes)


def _find_root(path: Path, dataroot: Path | None, paths: np.ndarray) -> Path:
    """The folder under which the sampled files are."""
    roots = list(dict.fromkeys([path.parent, *([] if dataroot is None else [dataroot.absolute()])]))
    sampled = paths[_sampled(len(paths))].ravel()
    wanted = [name.decode() for name in sampled if name]
    absent = {root: [name for name in wanted if not (root / name).is_file()] for root in roots}
    best = min(roots, key=lambda root: len(absent[root]))
    if absent[best]:
        raise DataError(
            f"{path}: {len(absent[best])} of {len(wanted)} files looked for are absent, {absent[best][0]} is not in "
            f"{' nor in '.join(str(root) for root in roots)}; put the database's folder there, or build one with "
            "`aqr prepare --gt-database`."
        )
    return best


def _check_points(path: Path, table: ObjectTable, files: LooseFiles) -> None:
    """Points outside their boxes betray another origin or another convention, which no single number would."""
    inside = total = 0
    for index in _sampled(len(table)):
        box = table.boxes[index : index + 1].copy()
        box[:, :3] = 0
        box[:, DX : DZ + 1] += 2 * _SLACK_M
        found = points_in_boxes(files.points(int(index)), box)
        inside, total = inside + int(found.sum()), total + len(found)
    if inside < _INSIDE * total:
        raise DataError(
            f"{path}: of {total} points looked at, {inside} lie in the boxes they belong to: the points are not "
            f"relative to the bottom centre, or the boxes are in another convention; {_REMEDY}."
        )


def _sampled(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, _SAMPLED).astype(np.int64))
