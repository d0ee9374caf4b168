"""Which boxes count: near enough, not empty of points, and no parked bicycle inside a rack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import CLASS_INDEX, Boxes
from aqr_eval.config import DetectionConfig
from aqr_eval.nuscenes.geometry import quaternion_to_matrix

_CYCLES = (CLASS_INDEX["bicycle"], CLASS_INDEX["motorcycle"])


def counted_rows(
    boxes: Boxes, ego_translation: NDArray[np.float64], bicycle_racks: Boxes, config: DetectionConfig
) -> NDArray[np.int64]:
    """The rows that the metric looks at, ascending; `filter_eval_boxes` of the devkit.

    Args:
        boxes: ground truth or predictions.
        ego_translation: (S, 3) vehicle position per sample, global, metres.
        bicycle_racks: racks of the same samples.
        config: gives the range per class.
    """
    limit = np.array([config.class_range[name] for name in config.class_names])
    counts = (ego_distance(boxes, ego_translation) < limit[boxes.label]) & (boxes.num_pts != 0)
    counts[_rows_in_racks(boxes, bicycle_racks)] = False
    return np.flatnonzero(counts)


def ego_distance(boxes: Boxes, ego_translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) metres from the vehicle to the centres in the ground plane; (S, 3) vehicle position per sample."""
    x, y = (boxes.translation[:, axis] - ego_translation[boxes.sample, axis] for axis in (0, 1))
    distance: NDArray[np.float64] = np.sqrt(x * x + y * y)
    return distance


def _rows_in_racks(boxes: Boxes, racks: Boxes) -> NDArray[np.int64]:
    """Rows of bicycles and motorcycles that have their centre inside a rack of their sample, faces included."""
    found = [np.zeros(0, np.int64)]
    if not len(racks):
        return found[0]
    cycles = np.flatnonzero(np.isin(boxes.label, _CYCLES) & np.isin(boxes.sample, racks.sample))
    for rack in range(len(racks)):
        rows = cycles[boxes.sample[cycles] == racks.sample[rack]]
        # Measured from one corner along the edges, as the devkit does, so that boundary cases agree.
        half = racks.size_wlh[rack, [1, 0, 2]] / 2
        turn = quaternion_to_matrix(racks.rotation_wxyz[rack])
        corner = turn @ half + racks.translation[rack]
        edges = np.stack([turn @ (half * sign) + racks.translation[rack] - corner for sign in _OPPOSITE])  # (3, 3)
        along = (boxes.translation[rows] - corner) @ edges.T
        found.append(rows[np.all((along >= 0) & (along <= np.sum(edges**2, axis=1)), axis=1)])
    return np.concatenate(found)


_OPPOSITE = np.array([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])  # the corner's three neighbours
