"""Which boxes count: near enough, not empty of points, and no parked bicycle inside a rack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import CLASS_INDEX, Boxes
from aqr_eval.config import DetectionConfig
from aqr_eval.nuscenes.geometry import quaternion_to_matrix

_CYCLES = (CLASS_INDEX["bicycle"], CLASS_INDEX["motorcycle"])


def filter_boxes(
    boxes: Boxes, ego_translation: NDArray[np.float64], bicycle_racks: Boxes, config: DetectionConfig
) -> Boxes:
    """The boxes that the metric looks at, in the same order; `filter_eval_boxes` of the devkit.

    Args:
        boxes: ground truth or predictions.
        ego_translation: (S, 3) vehicle position per sample, global, metres.
        bicycle_racks: racks of the same samples.
        config: gives the range per class.
    """
    offset = boxes.translation[:, :2] - ego_translation[boxes.sample, :2]
    distance = np.sqrt(np.sum(offset**2, axis=1))
    limit = np.array([config.class_range[name] for name in config.class_names])
    boxes = boxes.select((distance < limit[boxes.label]) & (boxes.num_pts != 0))
    return boxes.select(~_in_rack(boxes, bicycle_racks))


def _in_rack(boxes: Boxes, racks: Boxes) -> NDArray[np.bool_]:
    """(n,) whether a bicycle or motorcycle has its centre inside a rack of its sample, faces included."""
    inside = np.zeros(len(boxes), dtype=bool)
    cycles = np.flatnonzero(np.isin(boxes.label, _CYCLES) & np.isin(boxes.sample, racks.sample))
    for rack in range(len(racks)):
        rows = cycles[boxes.sample[cycles] == racks.sample[rack]]
        # Measured from one corner along the edges, as the devkit does, so that boundary cases agree.
        half = racks.size_wlh[rack, [1, 0, 2]] / 2
        turn = quaternion_to_matrix(racks.rotation_wxyz[rack])
        corner = turn @ half + racks.translation[rack]
        edges = np.stack([turn @ (half * sign) + racks.translation[rack] - corner for sign in _OPPOSITE])  # (3, 3)
        along = (boxes.translation[rows] - corner) @ edges.T
        inside[rows] |= np.all((along >= 0) & (along <= np.sum(edges**2, axis=1)), axis=1)
    return inside


_OPPOSITE = np.array([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])  # the corner's three neighbours
