"""The `sample_annotation` table as columns: 1.2 million rows in a few hundred megabytes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.table_stream import append_numbers, dangling, stream_table
from aqr_eval.nuscenes.velocity import track_velocities

_TABLE = "sample_annotation"
_FIELDS = (
    "token",
    "sample_token",
    "instance_token",
    "attribute_tokens",
    "visibility_token",
    "translation",
    "size",
    "rotation",
    "num_lidar_pts",
    "num_radar_pts",
    "prev",
    "next",
)


@dataclass(frozen=True, eq=False)
class AnnotationTable:
    """All annotations, sorted by sample; within a sample in file order, which decides metric ties.

    Attributes:
        token: n annotation tokens.
        sample: (n,) index into the samples.
        instance: (n,) index into `instance_token`.
        instance_token: tokens of the tracked objects.
        instance_category: category name of each tracked object.
        attribute: n attribute names, "" where the annotation has none.
        visibility: n visibility levels such as "v60-80", "" where the table has none.
        translation: (n, 3) global centre, metres.
        size_wlh: (n, 3) width, length, height, metres.
        rotation_wxyz: (n, 4) quaternion to global.
        velocity: (n, 2) global, m/s, NaN where unknown.
        num_lidar_pts: (n,) LiDAR points inside the box.
        num_radar_pts: (n,) radar points inside the box.
        start: (samples + 1,) rows `start[i]:start[i + 1]` belong to sample i.
    """

    token: list[str]
    sample: NDArray[np.int64]
    instance: NDArray[np.int64]
    instance_token: list[str]
    instance_category: list[str]
    attribute: list[str]
    visibility: list[str]
    translation: NDArray[np.float64]
    size_wlh: NDArray[np.float64]
    rotation_wxyz: NDArray[np.float64]
    velocity: NDArray[np.float64]
    num_lidar_pts: NDArray[np.int64]
    num_radar_pts: NDArray[np.int64]
    start: NDArray[np.int64]

    def rows_of(self, sample: int) -> range:
        """Rows that belong to a sample."""
        return range(int(self.start[sample]), int(self.start[sample + 1]))


def load_annotations(
    folder: Path, sample_index: Mapping[str, int], sample_timestamp_us: NDArray[np.int64]
) -> AnnotationTable:
    """Reads `sample_annotation` and the tables it points to.

    Args:
        folder: The version folder.
        sample_index: sample token -> index.
        sample_timestamp_us: (samples,) sample times.

    Raises:
        DataError: a row lacks a field, holds no number where one belongs or points to a row that is not there.
    """
    instance_index, instance_category = _load_instances(folder)
    attribute_name = dict(stream_table(folder, "attribute", ("token", "name")))
    visibility_level = dict(stream_table(folder, "visibility", ("token", "level"), defaults={"level": ""}))

    ids: dict[str, int] = {}  # annotation token -> number in order of first mention, as row, prev or next
    own, prev, next_ = array("q"), array("q"), array("q")
    sample, instance, lidar_pts, radar_pts = array("q"), array("q"), array("q"), array("q")
    translation, size, rotation = array("d"), array("d"), array("d")
    attribute: list[str] = []
    visibility: list[str] = []
    rows = stream_table(folder, _TABLE, _FIELDS, defaults={"visibility_token": ""})
    for (
        token,
        sample_token,
        instance_token,
        attributes,
        level,
        centre,
        wlh,
        quaternion,
        lidar,
        radar,
        before,
        after,
    ) in rows:
        try:
            sample.append(sample_index[sample_token])
        except KeyError:
            raise dangling(_TABLE, token, "sample_token", sample_token, "sample") from None
        try:
            instance.append(instance_index[instance_token])
        except KeyError:
            raise dangling(_TABLE, token, "instance_token", instance_token, "instance") from None
        attribute.append(_single_attribute(token, attributes, attribute_name))
        visibility.append(visibility_level.get(level, ""))
        append_numbers(translation, centre, 3, _TABLE, token, "translation")
        append_numbers(size, wlh, 3, _TABLE, token, "size")
        append_numbers(rotation, quaternion, 4, _TABLE, token, "rotation")
        append_numbers(lidar_pts, (lidar,), 1, _TABLE, token, "num_lidar_pts")
        append_numbers(radar_pts, (radar,), 1, _TABLE, token, "num_radar_pts")
        own.append(ids.setdefault(token, len(ids)))
        prev.append(ids.setdefault(before, len(ids)) if before else -1)
        next_.append(ids.setdefault(after, len(ids)) if after else -1)

    order = np.argsort(_integers(sample), kind="stable")
    own_id = _integers(own)[order]
    names = list(ids)
    tokens = [names[i] for i in own_id]
    row_of_id = np.full(len(ids), -1)
    row_of_id[own_id] = np.arange(len(own_id))
    previous = _resolve(_integers(prev)[order], row_of_id, names, tokens, "prev")
    following = _resolve(_integers(next_)[order], row_of_id, names, tokens, "next")
    samples = _integers(sample)[order]
    centres = _finite(_numbers(translation, 3)[order], tokens, "translation")
    return AnnotationTable(
        token=tokens,
        sample=samples,
        instance=_integers(instance)[order],
        instance_token=list(instance_index),
        instance_category=instance_category,
        attribute=[attribute[i] for i in order],
        visibility=[visibility[i] for i in order],
        translation=centres,
        size_wlh=_positive(_finite(_numbers(size, 3)[order], tokens, "size"), tokens, "size"),
        rotation_wxyz=_finite(_numbers(rotation, 4)[order], tokens, "rotation"),
        velocity=track_velocities(centres, sample_timestamp_us[samples], previous, following),
        num_lidar_pts=_integers(lidar_pts)[order],
        num_radar_pts=_integers(radar_pts)[order],
        start=np.searchsorted(samples, np.arange(len(sample_index) + 1)),
    )


def _load_instances(folder: Path) -> tuple[dict[str, int], list[str]]:
    category_name = dict(stream_table(folder, "category", ("token", "name")))
    index: dict[str, int] = {}
    categories: list[str] = []
    for token, category_token in stream_table(folder, "instance", ("token", "category_token")):
        if category_token not in category_name:
            raise dangling("instance", token, "category_token", category_token, "category")
        index[token] = len(categories)
        categories.append(category_name[category_token])
    return index, categories


def _single_attribute(token: str, attributes: list[str], attribute_name: Mapping[str, str]) -> str:
    if not attributes:
        return ""
    if len(attributes) > 1:
        raise DataError(
            f"{_TABLE}.json: token {token!r} has {len(attributes)} attribute_tokens where nuScenes allows one; "
            f"keep one of them."
        )
    try:
        return attribute_name[attributes[0]]
    except KeyError:
        raise dangling(_TABLE, token, "attribute_tokens", attributes[0], "attribute") from None


def _resolve(
    neighbour: NDArray[np.int64], row_of_id: NDArray[np.int64], names: list[str], tokens: list[str], field: str
) -> NDArray[np.int64]:
    rows = np.where(neighbour >= 0, row_of_id[neighbour] if len(row_of_id) else -1, -1)
    lost = np.flatnonzero((neighbour >= 0) & (rows < 0))
    if len(lost):
        raise dangling(_TABLE, tokens[lost[0]], field, names[neighbour[lost[0]]], _TABLE)
    return rows


def _finite(values: NDArray[np.float64], tokens: list[str], field: str) -> NDArray[np.float64]:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError(
            f"{_TABLE}.json: token {tokens[bad[0]]!r} has {field} = {values[bad[0]].tolist()}, "
            f"which is not finite; repair or remove the row."
        )
    return values


def _positive(values: NDArray[np.float64], tokens: list[str], field: str) -> NDArray[np.float64]:
    bad = np.flatnonzero((values <= 0).any(axis=1))
    if len(bad):
        raise DataError(
            f"{_TABLE}.json: token {tokens[bad[0]]!r} has {field} = {values[bad[0]].tolist()}, "
            f"which is not positive; repair or remove the row."
        )
    return values


def _integers(column: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(column, dtype=np.int64) if len(column) else np.zeros(0, dtype=np.int64)


def _numbers(column: array[float], width: int) -> NDArray[np.float64]:
    return np.frombuffer(column, dtype=np.float64).reshape(-1, width) if len(column) else np.zeros((0, width))
