"""Box codes of the head and the boxes they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aqr_core.registry import MODELS
from aqr_core.structures.boxes3d import DX, DY, DZ, VX, VY, YAW, X, Y, Z


@MODELS.register_module()
class MultiTaskBBoxCoder:
    """Top-scoring boxes of the last decoder layer; a query may yield several classes, nothing is suppressed.

    Args:
        pc_range: x, y, z minimum and maximum in metres.
        post_center_range: boxes with the gravity centre outside are dropped; bounds included. None keeps all.
        max_num: boxes per sample before that.
        voxel_size: voxel edges in metres, from which the head derives its BEV cells.
        num_classes: kept for upstream configs; the tasks decide.
        score_threshold: boxes at or below are dropped; None keeps all.
    """

    def __init__(
        self,
        pc_range: Sequence[float],
        post_center_range: Sequence[float] | None = None,
        max_num: int = 300,
        voxel_size: Sequence[float] | None = None,
        num_classes: int = 10,
        score_threshold: float | None = None,
    ) -> None:
        self.pc_range = tuple(float(value) for value in pc_range)
        self.post_center_range = None if post_center_range is None else tuple(post_center_range)
        self.max_num = max_num
        self.voxel_size = None if voxel_size is None else tuple(float(value) for value in voxel_size)
        self.num_classes = num_classes
        self.score_threshold = score_threshold

    @staticmethod
    def encode(boxes: Tensor) -> Tensor:
        """(..., 9) boxes -> (..., 10) codes (cx, cy, log dx, log dy, cz, log dz, sin yaw, cos yaw, vx, vy)."""
        return torch.stack(
            [
                boxes[..., X],
                boxes[..., Y],
                boxes[..., DX].log(),
                boxes[..., DY].log(),
                boxes[..., Z],
                boxes[..., DZ].log(),
                boxes[..., YAW].sin(),
                boxes[..., YAW].cos(),
                boxes[..., VX],
                boxes[..., VY],
            ],
            dim=-1,
        )

    @staticmethod
    def decode_codes(codes: Tensor) -> Tensor:
        """(..., 10) codes -> (..., 9) boxes."""
        cx, cy, log_dx, log_dy, cz, log_dz, sin, cos, vx, vy = codes.unbind(-1)
        return torch.stack(
            [cx, cy, cz, log_dx.exp(), log_dy.exp(), log_dz.exp(), torch.atan2(sin, cos), vx, vy], dim=-1
        )

    def decode(self, logits: Sequence[Tensor], codes: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Decode one batch.

        Args:
            logits: per task (B, Q, classes of the task).
            codes: per task (B, Q, 10).

        Returns:
            per sample boxes (K, 9), scores (K,) descending, labels (K,) over the classes of all tasks.
        """
        scores = torch.cat(list(logits), dim=-1).sigmoid()  # (B, Q, classes)
        classes = scores.shape[-1]
        scores, index = scores.flatten(1).topk(min(self.max_num, scores[0].numel()), dim=1)
        query, label = index // classes, index % classes
        task_of_class = torch.cat([torch.full((part.shape[-1],), task) for task, part in enumerate(logits)])
        task = task_of_class.to(label.device)[label]
        stacked = torch.stack(list(codes), dim=1)  # (B, tasks, Q, 10)
        sample = torch.arange(len(stacked), device=label.device)[:, None]
        boxes = self.decode_codes(stacked[sample, task, query])  # (B, K, 9)
        keep = torch.ones_like(scores, dtype=torch.bool)
        if self.post_center_range is not None:
            limits = boxes.new_tensor(self.post_center_range)
            centre = boxes[..., :3]
            keep &= ((centre >= limits[:3]) & (centre <= limits[3:])).all(dim=-1)
        if self.score_threshold is not None:
            keep &= scores > self.score_threshold
        return [(b[k], s[k], c[k]) for b, s, c, k in zip(boxes, scores, label, keep, strict=True)]
