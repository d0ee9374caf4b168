"""Our box rows and mmdet3d's LiDAR boxes: the same columns, with z at the gravity centre or at the bottom."""

from __future__ import annotations

import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.structures.boxes3d import BOX_DIM, DZ, Z

GRAVITY_CENTRE = (0.5, 0.5, 0.5)


def rows_to_lidar_boxes(rows: Tensor) -> LiDARInstance3DBoxes:
    """(n, 9) rows of `boxes3d` -> boxes, float32, on the same device."""
    return LiDARInstance3DBoxes(rows, box_dim=BOX_DIM, origin=GRAVITY_CENTRE)


def lidar_boxes_to_rows(boxes: LiDARInstance3DBoxes) -> Tensor:
    """Boxes -> (n, 9) float32 rows of `boxes3d`.

    Raises:
        ConfigError: boxes of another frame, or without velocity, which every box loss of ours reads.
    """
    if not isinstance(boxes, LiDARInstance3DBoxes):
        raise ConfigError(
            f"gt_bboxes_3d are {type(boxes).__name__}, and CMT works in the LiDAR frame; set box_type_3d='LiDAR' and "
            "load_type='frame_based' of the dataset."
        )
    rows: Tensor = boxes.tensor.clone()
    if rows.shape[1] != BOX_DIM:
        raise ConfigError(
            f"gt_bboxes_3d have {rows.shape[1]} numbers, and CMT needs {BOX_DIM} with the velocity; set "
            "with_velocity=True of the dataset."
        )
    rows[:, Z] += rows[:, DZ] / 2
    return torch.as_tensor(rows, dtype=torch.float32)
