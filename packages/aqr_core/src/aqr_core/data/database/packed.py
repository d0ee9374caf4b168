"""Our own form of an object database: a folder of seven files, memory mapped.

nuScenes has 1.1 million objects. As one file each, like mmdetection3d keeps them, copying and listing them takes longer
than training on them; packed, an object is two offsets and a slice::

    meta.json           format, version, classes, objects and images per class, where it came from
    boxes.npy           (n, 9) float64
    labels.npy          (n,) int64, index into the classes
    tokens.npy          (n, 2) bytes, sample and instance; the instance is empty where the infos do not say
    point_offsets.npy   (n + 1,) int64, in points
    points.bin          (P, 5) float32 x, y, z about the gravity centre along the axes of the LiDAR, intensity, age
    image_offsets.npy   (n + 1,) int64, in bytes; an object without a crop is empty
    images.bin          JPEG crops, one after the other
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from aqr_core.data.database.table import ObjectTable
from aqr_core.errors import DataError
from aqr_core.infos.schema import POINT_FEATURES
from aqr_core.structures.boxes3d import BOX_DIM

FORMAT = "aqr-objects"
VERSION = 1
META = "meta.json"
_POINTS, _IMAGES = "points.bin", "images.bin"
_TABLES = ("boxes", "labels", "tokens", "point_offsets", "image_offsets")
_FILES = (*(f"{name}.npy" for name in _TABLES), _POINTS, _IMAGES)
_REMEDY = "build it again with `aqr prepare --gt-database`"


@dataclass(frozen=True, eq=False)
class KeyframeObjects:
    """The k objects of one keyframe, ready to be written.

    Attributes:
        token: of the sample.
        instances: k tokens of tracks.
        boxes: (k, 9).
        labels: (k,).
        points: k arrays (P, 5) float32.
        images: k JPEG files, empty where there is no crop.
    """

    token: str
    instances: tuple[str, ...]
    boxes: np.ndarray
    labels: np.ndarray
    points: Sequence[np.ndarray]
    images: Sequence[bytes]


class PackedWriter:
    """Writes objects as they come: points and crops go straight to disk, some 200 bytes per object stay in memory.

    A context manager; `finish` must be called inside it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boxes: list[np.ndarray] = [np.zeros((0, BOX_DIM))]
        self._labels: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._tokens: list[np.ndarray] = [np.zeros((0, 2), "S1")]
        self._num_points: list[int] = []
        self._image_bytes: list[int] = []
        self._open = ExitStack()

    def __enter__(self) -> PackedWriter:
        self._points = self._open.enter_context((self._folder / _POINTS).open("wb"))
        self._images = self._open.enter_context((self._folder / _IMAGES).open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def append(self, objects: KeyframeObjects) -> None:
        """Add the objects of one keyframe."""
        if not len(objects.labels):
            return
        self._boxes.append(objects.boxes)
        self._labels.append(objects.labels)
        self._tokens.append(np.array([(objects.token, instance) for instance in objects.instances], np.bytes_))
        for points, image in zip(objects.points, objects.images, strict=True):
            self._num_points.append(len(points))
            self._image_bytes.append(len(image))
            self._points.write(np.ascontiguousarray(points, "<f4").tobytes())
            self._images.write(image)

    def finish(self, classes: tuple[str, ...], has_images: bool, origin: Mapping[str, Any]) -> dict[str, Any]:
        """Write the tables and `meta.json`; returns the latter."""
        labels = np.concatenate(self._labels)
        with_image = np.array(self._image_bytes, np.int64) > 0
        arrays = (
            np.concatenate(self._boxes),
            labels,
            np.concatenate(self._tokens),
            _offsets(self._num_points),
            _offsets(self._image_bytes),
        )
        for name, array in zip(_TABLES, arrays, strict=True):
            np.save(self._folder / f"{name}.npy", array)
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "classes": list(classes),
            "has_images": has_images,
            "objects": _per_class(classes, labels),
            "images": _per_class(classes, labels[with_image]),
            **origin,
        }
        (self._folder / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
        return meta


class PackedFiles:
    """Points and crops of a packed folder."""

    def __init__(self, folder: Path, point_offsets: np.ndarray, image_offsets: np.ndarray) -> None:
        self._folder = folder
        self._point_offsets, self._image_offsets = point_offsets, image_offsets
        self._points = _map(folder / _POINTS, "<f4", int(point_offsets[-1]) * POINT_FEATURES)
        self._images = _map(folder / _IMAGES, "u1", int(image_offsets[-1]))

    def points(self, index: int) -> np.ndarray:
        """(P, 5) float32, a copy."""
        start, end = self._point_offsets[index : index + 2] * POINT_FEATURES
        return np.array(self._points[start:end], np.float32).reshape(-1, POINT_FEATURES)

    def image(self, index: int) -> np.ndarray | None:
        """(h, w, 3) uint8 BGR, or None.

        Raises:
            DataError: the stored bytes are no image.
        """
        stored = self._stored_image(index)
        if not len(stored):
            return None
        image = cv2.imdecode(stored, cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{self._folder / _IMAGES}: the crop of object {index} is damaged; {_REMEDY}.")
        return image

    def stored_image(self, index: int) -> bytes:
        """The crop as the file that it is, empty where there is none."""
        return self._stored_image(index).tobytes()

    def _stored_image(self, index: int) -> np.ndarray:
        start, end = self._image_offsets[index : index + 2]
        return self._images[start:end]


def read_meta(folder: Path) -> dict[str, Any]:
    """`meta.json`, checked for format and version.

    Raises:
        DataError: the folder is no object database, or one of another version.
    """
    file = folder / META
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file} does not exist, so {folder} is no object database; {_REMEDY}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not valid JSON ({error}); {_REMEDY}.") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT or meta.get("version") != VERSION:
        found = f"{meta.get('format')!r} version {meta.get('version')!r}" if isinstance(meta, dict) else "no object"
        raise DataError(f"{file} is {found}, this release reads {FORMAT!r} version {VERSION}; {_REMEDY}.")
    return meta


def open_packed(folder: Path) -> tuple[ObjectTable, PackedFiles]:
    """Map a folder that `PackedWriter` has written.

    Raises:
        DataError: no such database, or files that do not belong together.
    """
    meta = read_meta(folder)
    absent = [name for name in _FILES if not (folder / name).is_file()]
    if absent:
        raise DataError(f"The object database {folder} lacks {', '.join(absent)}; {_REMEDY}.")
    boxes, labels, points, images = (
        _load(folder / f"{name}.npy") for name in ("boxes", "labels", "point_offsets", "image_offsets")
    )
    if boxes.shape != (len(labels), BOX_DIM) or {len(points), len(images)} != {len(labels) + 1}:
        raise DataError(f"{folder} holds {len(labels)} labels and {len(boxes)} boxes, a mixture; {_REMEDY}.")
    table = ObjectTable(
        classes=tuple(meta["classes"]),
        boxes=boxes,
        labels=labels,
        num_points=np.diff(points),
        difficulty=np.zeros(len(labels), np.int64),
        with_image=np.diff(images) > 0,
        has_images=bool(meta["has_images"]),
    )
    return table, PackedFiles(folder, points, images)


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _per_class(classes: tuple[str, ...], labels: np.ndarray) -> dict[str, int]:
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _load(path: Path) -> np.ndarray:
    """A mapped array: processes share its pages."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_REMEDY}.") from error


def _map(path: Path, dtype: str, length: int) -> np.ndarray:
    wanted = length * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.is_file() else 0
    if found != wanted:
        raise DataError(f"{path} has {found} bytes, not {wanted}: it was cut short or exchanged; {_REMEDY}.")
    return np.asarray(np.memmap(path, dtype, mode="r")) if length else np.zeros(0, dtype)
