"""From untrusted records to `Info`: every field is checked once, here, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aqr_core.infos.schema import (
    FORMAT,
    POINT_FEATURES,
    VERSION,
    CameraInfo,
    GroundTruth,
    Info,
    InfosHeader,
    LidarInfo,
    SweepInfo,
)
from aqr_core.structures.boxes3d import BOX_DIM, DX, DZ, VX

_ROTATION_TOLERANCE = 1e-3  # mmdet3d stores poses in float32; a wrong matrix is off by far more
_LAST_ROW, _IDENTITY = np.array([0.0, 0.0, 0.0, 1.0]), np.eye(3)


class FieldError(ValueError):
    """A field is missing or wrong; the reader adds the file and the line."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"field '{field}' {problem}")


class _Fields:
    """Typed access to a mapping that knows the name of each field."""

    def __init__(self, record: object, name: str = "") -> None:
        if not isinstance(record, Mapping):
            raise FieldError(name or "record", f"is {type(record).__name__}, not an object")
        self._record = record
        self._prefix = f"{name}." if name else ""

    def name(self, key: str) -> str:
        return self._prefix + key

    def value(self, key: str) -> object:
        if key not in self._record:
            raise FieldError(self.name(key), "is missing")
        return self._record[key]

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            raise FieldError(self.name(key), f"is {value!r}, not a string")
        return value

    def number(self, key: str, minimum: float = -np.inf) -> float:
        value = self.value(key)
        if not isinstance(value, (int, float, np.number)) or not minimum <= value < np.inf:
            raise FieldError(self.name(key), f"is {value!r}, not a finite number{_at_least(minimum)}")
        return float(value)

    def count(self, key: str, minimum: int) -> int:
        value = self.value(key)
        if not isinstance(value, (int, np.integer)) or value < minimum:
            raise FieldError(self.name(key), f"is {value!r}, not a whole number from {minimum}")
        return int(value)

    def array(self, key: str, shape: tuple[int | None, ...], dtype: type) -> np.ndarray:
        try:
            array: np.ndarray = np.asarray(self.value(key), dtype=dtype)
        except (TypeError, ValueError) as error:
            raise FieldError(self.name(key), f"does not convert to an array of {dtype.__name__} ({error})") from error
        if array.size == 0 and None in shape:
            array = array.reshape([size or 0 for size in shape])
        if array.ndim != len(shape) or any(
            want not in (None, got) for want, got in zip(shape, array.shape, strict=True)
        ):
            wanted = " x ".join("n" if size is None else str(size) for size in shape)
            raise FieldError(self.name(key), f"has shape {array.shape}, not {wanted}")
        return array

    def pose(self, key: str) -> np.ndarray:
        """(4, 4) of a rotation and a translation; a mirror, a scale or a projection is refused."""
        pose = self.array(key, (4, 4), np.float64)
        if not np.isfinite(pose).all():
            raise FieldError(self.name(key), "holds NaN or infinity")
        if np.abs(pose[3] - _LAST_ROW).max() > _ROTATION_TOLERANCE:
            raise FieldError(self.name(key), f"has the last row {pose[3].tolist()}, not 0 0 0 1")
        rotation = pose[:3, :3]
        determinant = np.linalg.det(rotation)
        if np.abs(rotation @ rotation.T - _IDENTITY).max() > _ROTATION_TOLERANCE or determinant < 0:
            raise FieldError(self.name(key), f"is no rigid transform (determinant of the rotation {determinant:.4f})")
        return pose

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.value(key)
        if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
            raise FieldError(self.name(key), "is not a list of strings")
        return tuple(values)

    def child(self, key: str) -> _Fields:
        return _Fields(self.value(key), self.name(key))

    def children(self, key: str) -> list[_Fields]:
        values = self.value(key)
        if not isinstance(values, (list, tuple)):
            raise FieldError(self.name(key), "is not a list")
        return [_Fields(value, f"{self.name(key)}[{i}]") for i, value in enumerate(values)]


def parse_header(record: object) -> InfosHeader:
    """The first line of an infos file.

    Raises:
        FieldError: not an infos header, or one of another version.
    """
    fields = _Fields(record, "header")
    if fields.value("format") != FORMAT:
        raise FieldError("header.format", f"is {fields.value('format')!r}, not '{FORMAT}'")
    if fields.value("version") != VERSION:
        raise FieldError("header.version", f"is {fields.value('version')!r}; this release reads version {VERSION}")
    if not fields.strings("cameras"):
        raise FieldError("header.cameras", "names no camera")
    return InfosHeader(
        dataset_version=fields.text("dataset_version"),
        split=fields.text("split"),
        classes=fields.strings("classes"),
        cameras=fields.strings("cameras"),
        max_sweeps=fields.count("max_sweeps", 0),
        source=fields.text("source"),
    )


def parse_info(record: object, header: InfosHeader) -> Info:
    """One keyframe.

    Raises:
        FieldError: a field is missing, of another shape, or impossible (a mirrored pose, a label outside the classes).
    """
    fields = _Fields(record)
    lidar, cameras = fields.child("lidar"), fields.child("cameras")
    return Info(
        token=fields.text("token"),
        scene=fields.text("scene"),
        timestamp=fields.number("timestamp"),
        prev=fields.text("prev"),
        next=fields.text("next"),
        ego2global=fields.pose("ego2global"),
        lidar=LidarInfo(lidar.text("path"), lidar.pose("lidar2ego"), lidar.count("num_features", POINT_FEATURES)),
        sweeps=tuple(
            SweepInfo(sweep.text("path"), sweep.number("age", minimum=0), sweep.pose("sweep2lidar"))
            for sweep in fields.children("sweeps")
        ),
        cameras={channel: _parse_camera(cameras.child(channel)) for channel in header.cameras},
        gt=_parse_gt(fields.child("gt"), len(header.classes)),
    )


def _parse_camera(fields: _Fields) -> CameraInfo:
    cam2img = fields.array("cam2img", (3, 3), np.float64)
    upper = cam2img[0, 0] > 0 and cam2img[1, 1] > 0 and np.array_equal(cam2img[2], (0, 0, 1))
    if not np.isfinite(cam2img).all() or not upper:
        raise FieldError(fields.name("cam2img"), "is no camera matrix (positive focal lengths, last row 0 0 1)")
    known_size = fields.value("width") is not None
    return CameraInfo(
        path=fields.text("path"),
        width=fields.count("width", 1) if known_size else None,
        height=fields.count("height", 1) if known_size else None,
        timestamp=fields.number("timestamp"),
        cam2img=cam2img,
        lidar2cam=fields.pose("lidar2cam"),
    )


def _parse_gt(fields: _Fields, num_classes: int) -> GroundTruth:
    boxes = fields.array("boxes", (None, BOX_DIM), np.float64)  # null becomes NaN
    count = len(boxes)
    if not np.isfinite(boxes[:, :VX]).all():
        raise FieldError(fields.name("boxes"), "holds NaN outside the velocity")
    if not (boxes[:, DX : DZ + 1] > 0).all():
        raise FieldError(fields.name("boxes"), "holds a size that is not positive")
    labels = fields.array("labels", (count,), np.int64)
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if len(outside):
        raise FieldError(fields.name("labels"), f"holds {outside[0]}, a label outside 0..{num_classes - 1}")
    attributes, instances = fields.strings("attributes"), fields.strings("instances")
    for key, values in (("attributes", attributes), ("instances", instances)):
        if len(values) != count:
            raise FieldError(fields.name(key), f"has {len(values)} entries for {count} boxes")
    return GroundTruth(
        boxes=boxes,
        labels=labels,
        num_lidar_pts=fields.array("num_lidar_pts", (count,), np.int64),
        num_radar_pts=fields.array("num_radar_pts", (count,), np.int64),
        attributes=attributes,
        valid=fields.array("valid", (count,), np.bool_),
        instances=instances,
    )


def _at_least(minimum: float) -> str:
    return "" if minimum == -np.inf else f" from {minimum:g}"
