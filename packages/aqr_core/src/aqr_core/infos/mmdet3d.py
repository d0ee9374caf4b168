"""Reads the info pickles of mmdetection3d, format 1.0 (`infos`) and 1.1 (`data_list`).

Both describe the same keyframes; what differs is pinned here. Format 1.0 has microseconds,
`sensor2lidar` poses and class names, format 1.1 seconds, `lidar2cam` and labels in the order of its own
`metainfo`. The boxes of either may be in one of two conventions, see `aqr_core.infos.box_convention`.
What `aqr_core.infos.write_mmdet3d` adds to format 1.1 is read where it is there: split, scene, links, attributes and
image sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from aqr_core.errors import DataError
from aqr_core.infos.box_convention import decide_convention
from aqr_core.infos.mmdet3d_records import LABEL, ground_truth_record, record_v1_0, record_v1_1, valid_flags
from aqr_core.infos.mmdet3d_unread import count_unread
from aqr_core.infos.parse import parse_info
from aqr_core.infos.presence import Presence
from aqr_core.infos.schema import Info, InfosHeader
from aqr_core.infos.unpickle import load_plain_pickle
from aqr_core.structures.boxes3d import legacy_wlh_to_box


class Mmdet3dInfos(Sequence[Info]):
    """The keyframes of an mmdet3d info pickle, converted and checked one at a time.

    mmdet3d's own tool writes no scene, no links between keyframes and no attributes; they stay empty then, as tracks
    always do. The links and scene tokens that BEVFormer and its descendants add are read.

    Attributes:
        path: the pickle.
        header: what `aqr prepare` would have written as the header.
        is_v1_1: format 1.1, else 1.0.
        box_convention: 'lwh' or 'wlh', as found or as told.
    """

    def __init__(self, path: Path, content: Mapping[str, Any], box_convention: str | None = None) -> None:
        self.path = path
        self.is_v1_1 = "data_list" in content
        self._frames: Sequence[Any] = content["data_list" if self.is_v1_1 else "infos"]
        meta = content.get("metainfo", content.get("metadata")) or {}
        self._names = _class_names(path, meta) if self.is_v1_1 else ()
        self.header = InfosHeader(
            dataset_version=str(meta.get("version", "")),
            split=str(meta.get("split", "")),
            max_sweeps=int(meta.get("max_sweeps", InfosHeader.max_sweeps)),
        )
        declared = box_convention or ("lwh" if meta.get("info_version") == "1.1" else None)
        self.box_convention = decide_convention(path, declared, self._sizes_of_boxes())

    @classmethod
    def open(cls, path: str | Path, box_convention: str | None = None) -> Mmdet3dInfos:
        """Read a pickle.

        Args:
            path: the file.
            box_convention: 'lwh' or 'wlh'; without it the file's metadata decide, else the proportions of its vehicles.

        Raises:
            DataError: not such a pickle, one that wants other objects than containers and numpy, or boxes whose
                convention cannot be decided or contradicts what was told.
        """
        path = Path(path)
        content = load_plain_pickle(path)
        if not isinstance(content, Mapping) or not ("infos" in content or "data_list" in content):
            raise DataError(f"{path} is no mmdet3d info file: it has no 'infos' or 'data_list'; give another file.")
        return cls(path, content, box_convention)

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Info: ...
    @overload
    def __getitem__(self, index: slice) -> list[Info]: ...
    def __getitem__(self, index: int | slice) -> Info | list[Info]:
        """The keyframe(s) at a position.

        Raises:
            DataError: the record lacks a field or breaks the schema; names file, keyframe and field.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        frame = self._frames[index]
        with _naming(self.path, index):
            record = record_v1_1(frame) if self.is_v1_1 else record_v1_0(frame)
            names, boxes, velocity = self._raw_boxes(index)
            if self.box_convention == "wlh":
                boxes = legacy_wlh_to_box(boxes)
            record["gt"] = ground_truth_record(frame, self.is_v1_1, names, np.hstack([boxes, velocity]))
            return parse_info(record, self.header)

    def tokens(self) -> list[str]:
        """The sample token of each keyframe."""
        return [str(frame.get("token", "")) for frame in self._frames]

    def presence(self) -> Presence:
        """Which classes each keyframe holds; the records are checked when they are used.

        Raises:
            DataError: a keyframe lacks the names or flags of its boxes.
        """
        presence = Presence.empty(len(self), len(self.header.classes))
        for index, frame in enumerate(self._frames):
            names, _, _ = self._raw_boxes(index)
            with _naming(self.path, index):
                for name, is_valid in zip(names, valid_flags(frame, self.is_v1_1), strict=True):
                    if name in LABEL:
                        presence.annotated[index, LABEL[name]] = True
                        presence.valid[index, LABEL[name]] |= bool(is_valid)
        return presence

    def unread_fields(self) -> dict[str, int]:
        """What the file holds and an `Info` does not: name of a field -> how often it is there."""
        return count_unread(self._frames, self.is_v1_1)

    def count_boxes(self) -> int:
        """How many boxes the file holds, those outside the ten classes too, which no `Info` has."""
        return sum(len(self._raw_boxes(index)[0]) for index in range(len(self)))

    def _raw_boxes(self, index: int) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Class names, (n, 7) boxes as they stand in the file, and (n, 2) velocities."""
        frame = self._frames[index]
        with _naming(self.path, index):
            if self.is_v1_1:
                instances = frame.get("instances", ())
                names = [self._names[i["bbox_label_3d"]] if i["bbox_label_3d"] >= 0 else "" for i in instances]
                boxes: ArrayLike = [i["bbox_3d"] for i in instances]
                velocity: ArrayLike = [i["velocity"] for i in instances]
            else:
                names = [str(name) for name in frame.get("gt_names", ())]
                boxes = frame.get("gt_boxes", ())
                velocity = frame["gt_velocity"] if names else ()
            if not names:
                return [], np.zeros((0, 7)), np.zeros((0, 2))
            rows = np.asarray(boxes, np.float64).reshape(len(names), -1)
            return names, rows[:, :7], np.asarray(velocity, np.float64).reshape(-1, 2)

    def _sizes_of_boxes(self) -> Iterator[tuple[list[str], np.ndarray]]:
        for index in range(len(self)):
            names, boxes, _ = self._raw_boxes(index)
            yield names, boxes[:, 3:5]


def _class_names(path: Path, meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in the order of this file's labels, which is not the benchmark's.

    mmdet3d's tool lists what lies outside the ten classes too, all under -1.
    """
    if "categories" in meta:
        labels = {label: str(name) for name, label in meta["categories"].items() if label >= 0}
        if sorted(labels) != list(range(len(labels))):
            raise DataError(
                f"{path}: the labels of 'categories' are {sorted(labels)}, not 0 to {len(labels) - 1}; write the file "
                "again with mmdet3d's tool, or run `aqr prepare`."
            )
        return tuple(labels[label] for label in range(len(labels)))
    for key in ("classes", "CLASSES"):
        if key in meta:
            return tuple(meta[key])
    raise DataError(f"{path} does not name its classes: 'metainfo' has no 'categories'; add it, or build infos again.")


@contextmanager
def _naming(path: Path, index: int) -> Iterator[None]:
    """Turns a missing or wrong field into a `DataError` with the file and the keyframe."""
    try:
        yield
    except DataError:
        raise  # from an inner block, which has named it already
    except (KeyError, IndexError, TypeError, ValueError) as error:
        problem = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}, keyframe {index}: {problem}; write the file again with mmdet3d's tool, or run `aqr prepare`."
        ) from error
