"""How far matched predictions are off: position, size, heading, velocity and attribute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import CLASS_INDEX, Boxes
from aqr_eval.nuscenes.geometry import yaw_from_quaternion

_BARRIER = CLASS_INDEX["barrier"]


def match_errors(gt: Boxes, predictions: Boxes) -> dict[str, NDArray[np.float64]]:
    """The five true-positive errors of m matched pairs; row i of both sides belongs together.

    Returns:
        trans_err: (m,) distance of the centres in the ground plane, metres.
        scale_err: (m,) 1 - IoU after aligning centre and heading.
        orient_err: (m,) smallest angle between the headings, radians; a barrier's ends are alike.
        vel_err: (m,) m/s, NaN where either side is unknown.
        attr_err: (m,) 0 or 1, NaN where the ground truth has no attribute.
    """
    period = np.where(gt.label == _BARRIER, np.pi, 2 * np.pi)
    overlap = np.prod(np.minimum(gt.size_wlh, predictions.size_wlh), axis=1)
    union = np.prod(gt.size_wlh, axis=1) + np.prod(predictions.size_wlh, axis=1) - overlap
    wrong = (gt.attribute != predictions.attribute).astype(np.float64)
    return {
        "trans_err": _length(predictions.translation[:, :2] - gt.translation[:, :2]),
        "scale_err": 1 - overlap / union,
        "orient_err": np.abs(
            angle_difference(
                yaw_from_quaternion(gt.rotation_wxyz), yaw_from_quaternion(predictions.rotation_wxyz), period
            )
        ),
        "vel_err": _length(predictions.velocity - gt.velocity),
        "attr_err": np.where(gt.attribute < 0, np.nan, wrong),
    }


def angle_difference(
    target_rad: NDArray[np.float64], source_rad: NDArray[np.float64], period_rad: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Signed smallest rotation from source to target, for headings that repeat after `period_rad`."""
    difference = (target_rad - source_rad + period_rad / 2) % period_rad - period_rad / 2
    return np.where(difference > np.pi, difference - 2 * np.pi, difference)


def _length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2)
    return length
