"""Boxes as columns of a file: the layout that submissions and prepared ground truths share.

Integers are as narrow as their range allows, coordinates stay float64: a file scores to the same bits as its JSON twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.columns_file import ColumnsFile
from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES
from aqr_eval.nuscenes.errors import AqrError


def box_columns(boxes: Boxes, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Column name -> array, see `read_boxes`."""
    return {
        f"{prefix}sample": boxes.sample.astype(np.int32),
        f"{prefix}label": boxes.label.astype(np.int8),
        f"{prefix}translation": boxes.translation,
        f"{prefix}size": boxes.size_wlh,
        f"{prefix}rotation": boxes.rotation_wxyz,
        f"{prefix}velocity": boxes.velocity,
        f"{prefix}score": boxes.score,
        f"{prefix}attribute": boxes.attribute.astype(np.int8),
        f"{prefix}num_pts": boxes.num_pts.astype(np.int32),
    }


def read_boxes(file: ColumnsFile, num_samples: int, error: type[AqrError], prefix: str = "") -> Boxes:
    """All boxes, n of them, in the order of the file.

    sample (n,) index of the sample, never falling; label (n,) index into the detection classes; translation (n, 3)
    global centre, metres; size (n, 3) width, length, height; rotation (n, 4) quaternion w, x, y, z; velocity (n, 2)
    m/s, NaN where unknown; score (n,); attribute (n,) index into the attributes, -1 for none; num_pts (n,) points
    inside, -1 where unknown.

    Raises:
        AqrError: of the class given: a column is missing, of another shape, or out of range.
    """
    sample = file.column(f"{prefix}sample", np.int64, (None,))
    count = len(sample)

    def numbers(name: str, *width: int) -> NDArray[np.float64]:
        return file.column(f"{prefix}{name}", np.float64, (count, *width))

    def indices(name: str, low: int, high: int) -> NDArray[np.int64]:
        column: NDArray[np.int64] = file.column(f"{prefix}{name}", np.int64, (count,))
        bad = np.flatnonzero((column < low) | (column > high))
        if len(bad):
            raise error(
                f"{file.path}: row {bad[0]} of column {prefix + name!r} holds {column[bad[0]]}, allowed are {low} to "
                f"{high}: write the file again."
            )
        return column

    if (np.diff(sample) < 0).any():
        raise error(f"{file.path}: the boxes are not sorted by sample: write those of each sample together, in order.")
    return Boxes(
        sample=indices("sample", 0, num_samples - 1),
        label=indices("label", 0, len(DETECTION_CLASSES) - 1),
        translation=numbers("translation", 3),
        size_wlh=numbers("size", 3),
        rotation_wxyz=numbers("rotation", 4),
        velocity=numbers("velocity", 2),
        score=numbers("score"),
        attribute=indices("attribute", -1, len(ATTRIBUTES) - 1),
        num_pts=indices("num_pts", -1, np.iinfo(np.int32).max),
    )
