"""Prepared ground truth: one file instead of the tables, opened in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from aqr_eval.box_columns import box_columns, read_boxes
from aqr_eval.boxes import Boxes
from aqr_eval.columns_file import ColumnsFile, write_columns
from aqr_eval.ground_truth.truth import Cameras, GroundTruth
from aqr_eval.nuscenes.errors import DataError

_KIND = "ground-truth"
_RACK = "rack_"


def write_ground_truth(path: str | Path, truth: GroundTruth) -> Path:
    """Writes everything that scoring and its analyses need; an interrupted run leaves no partial file."""
    racks = truth.bicycle_racks
    columns = {
        "ego_translation": truth.ego_translation,
        **box_columns(truth.boxes),
        **box_columns(replace(racks, label=np.zeros_like(racks.label)), prefix=_RACK),  # theirs means nothing
    }
    if truth.visibility is not None:
        columns["visibility"] = truth.visibility
    if truth.cameras is not None:
        columns["global2img"], columns["image_size"] = truth.cameras.global2img, truth.cameras.size.astype(np.int32)
    facts = {
        "tokens": truth.tokens,
        "scenes": truth.scenes,
        "descriptions": {name: truth.descriptions[name] for name in set(truth.scenes) & set(truth.descriptions)},
        "allows_extra_samples": truth.allows_extra_samples,
        "cameras": truth.cameras.channels if truth.cameras is not None else [],
        "name": truth.name,
    }
    write_columns(Path(path), _KIND, columns, facts)
    return Path(path)


def read_ground_truth(path: Path) -> GroundTruth:
    """Reads what `write_ground_truth` wrote; every number has the same bits.

    Raises:
        DataError: the file is of another kind, cut short, or a column is missing or out of range.
    """
    file = ColumnsFile(path, _KIND, DataError)
    tokens, scenes = tuple(file.fact("tokens", list)), tuple(file.fact("scenes", list))
    if len(scenes) not in (0, len(tokens)):
        raise DataError(f"{path} names {len(scenes)} scenes for {len(tokens)} samples: write the file again.")
    boxes = _finite(read_boxes(file, len(tokens), DataError), path)
    channels = tuple(file.fact("cameras", list))
    cameras = None
    if channels:
        shape = (len(tokens), len(channels))
        cameras = Cameras(
            channels,
            file.column("global2img", np.float64, (*shape, 4, 4)),
            file.column("image_size", np.int64, (*shape, 2)),
        )
    return GroundTruth(
        tokens=tokens,
        ego_translation=file.column("ego_translation", np.float64, (len(tokens), 3)),
        boxes=boxes,
        bicycle_racks=_finite(read_boxes(file, len(tokens), DataError, prefix=_RACK), path),
        allows_extra_samples=file.fact("allows_extra_samples", bool),
        scenes=scenes,
        descriptions=file.fact("descriptions", dict),
        visibility=file.column("visibility", np.int8, (len(boxes),)) if file.has("visibility") else None,
        cameras=cameras,
        name=file.fact("name", str),
    )


def _finite(boxes: Boxes, path: Path) -> Boxes:
    if not all(np.isfinite(column).all() for column in (boxes.translation, boxes.size_wlh, boxes.rotation_wxyz)):
        raise DataError(f"{path} holds a box whose place, size or rotation is not finite: write the file again.")
    return boxes
