"""From a detector's boxes in the LiDAR frame to the global boxes of a results file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES, MOVING_SPEED_MPS, default_attribute
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.nuscenes.geometry import matrix_to_quaternion, multiply_quaternions, yaw_to_quaternion

_MOVING, _RESTING = (  # (10,) attribute of each class
    np.array([ATTRIBUTE_INDEX[default_attribute(name, speed)] for name in DETECTION_CLASSES]) for speed in (np.inf, 0.0)
)


def detections_to_global(
    boxes9: ArrayLike, scores: ArrayLike, labels: ArrayLike, lidar2ego: ArrayLike, ego2global: ArrayLike
) -> Boxes:
    """LiDAR-frame detections of one sample -> boxes of a results file.

    Args:
        boxes9: (K, 9) x, y, z (gravity centre), dx along the heading, dy, dz, yaw, vx, vy; LiDAR frame.
        scores: (K,) confidence.
        labels: (K,) index into `DETECTION_CLASSES`.
        lidar2ego: (4, 4) LiDAR pose on the vehicle.
        ego2global: (4, 4) vehicle pose at the LiDAR keyframe.

    Returns:
        K boxes of sample 0; the attribute follows the class and the global speed (`default_attribute`).

    Raises:
        SubmissionError: a box, score or label that no results file may hold.
    """
    boxes = np.asarray(boxes9, dtype=np.float64).reshape(-1, 9)
    score = np.asarray(scores, dtype=np.float64).reshape(-1)
    label = np.asarray(labels, dtype=np.int64).reshape(-1)
    _check_detections(boxes, score, label)
    lidar2global = np.asarray(ego2global, dtype=np.float64) @ np.asarray(lidar2ego, dtype=np.float64)
    placed = boxes_to_global(boxes, label, lidar2global)
    with np.errstate(invalid="ignore"):  # an unknown speed counts as resting
        moving = np.hypot(*placed.velocity.T) > MOVING_SPEED_MPS
    return replace(placed, score=score, attribute=np.where(moving, _MOVING[label], _RESTING[label]))


def boxes_to_global(boxes: NDArray[np.float64], label: NDArray[np.int64], lidar2global: NDArray[np.float64]) -> Boxes:
    """(K, 9) LiDAR-frame boxes of one sample in the global frame, without score, attribute and number of points.

    The vertical part of the velocity that a tilted vehicle adds is dropped, as results files hold two numbers.
    """
    turn = lidar2global[:3, :3]
    count = len(boxes)
    return Boxes(
        sample=np.zeros(count, np.int64),
        label=label,
        translation=boxes[:, :3] @ turn.T + lidar2global[:3, 3],
        size_wlh=boxes[:, [4, 3, 5]],
        rotation_wxyz=multiply_quaternions(matrix_to_quaternion(turn), yaw_to_quaternion(boxes[:, 6])).reshape(-1, 4),
        velocity=boxes[:, 7:9] @ turn[:2, :2].T,
        score=np.full(count, -1.0),
        attribute=np.full(count, -1),
        num_pts=np.full(count, -1),
    )


def _check_detections(boxes: NDArray[np.float64], score: NDArray[np.float64], label: NDArray[np.int64]) -> None:
    if not len(boxes) == len(score) == len(label):
        raise SubmissionError(
            f"{len(boxes)} boxes come with {len(score)} scores and {len(label)} labels: give one of each per box."
        )
    bad = np.flatnonzero(~np.isfinite(boxes[:, :7]).all(axis=1) | ~np.isfinite(score))
    if len(bad):
        raise SubmissionError(
            f"Detection {bad[0]} has box {boxes[bad[0]].tolist()} and score {score[bad[0]]}: "
            f"only velocities may be NaN, so check the model for overflow."
        )
    bad = np.flatnonzero((label < 0) | (label >= len(DETECTION_CLASSES)))
    if len(bad):
        raise SubmissionError(
            f"Detection {bad[0]} has label {label[bad[0]]}: labels index the {len(DETECTION_CLASSES)} detection "
            f"classes, so check the head's class list."
        )
