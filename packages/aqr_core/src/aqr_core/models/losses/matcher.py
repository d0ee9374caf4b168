"""Hungarian matching of queries and ground-truth boxes, over all decoder layers and samples at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS, build

# Stands in for a non-finite cost: scipy refuses those, and the loss of the pair reports the fault with its name.
UNUSABLE_COST = 1e8


@MODELS.register_module()
@dataclass(frozen=True)
class FocalLossCost:
    """Focal loss of calling a query the box's class, minus that of calling it background."""

    weight: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0
    eps: float = 1e-12

    def per_class(self, logits: Tensor) -> Tensor:
        """(..., K) -> (..., K)."""
        p = logits.sigmoid()
        negative = -(1 - p + self.eps).log() * (1 - self.alpha) * p**self.gamma
        positive = -(p + self.eps).log() * self.alpha * (1 - p) ** self.gamma
        return self.weight * (positive - negative)


@MODELS.register_module()
@dataclass(frozen=True)
class BBox3DL1Cost:
    """L1 distance of box codes."""

    weight: float = 1.0

    def distance(self, codes: Tensor, targets: Tensor) -> Tensor:
        """(..., Q, D) and (..., n, D) -> (..., Q, n)."""
        return self.weight * torch.cdist(codes, targets, p=1)


@MODELS.register_module()
@dataclass(frozen=True)
class IoUCost:
    """Kept for upstream configs, where its weight is 0."""

    weight: float = 0.0

    def __post_init__(self) -> None:
        if self.weight != 0:
            raise ConfigError(f"IoUCost weight is {self.weight}; only 0 exists, matching uses classes and L1.")


@dataclass(frozen=True)
class Matches:
    """Matched pairs of every decoder layer; each index is (m,), sorted by layer, sample and query."""

    layer: Tensor
    sample: Tensor
    query: Tensor
    box: Tensor


@MODELS.register_module()
class HungarianAssigner3D:
    """One-to-one assignment of minimal cost. Source: DETR section 3.1 with CMT's costs.

    Args:
        cls_cost: config of the class cost.
        reg_cost: config of the box cost.
        iou_cost: kept for upstream configs.
        pc_range: kept for upstream configs.
        code_weights: weight of each of the ten code channels; velocity never counts.
    """

    def __init__(
        self,
        cls_cost: Mapping[str, Any],
        reg_cost: Mapping[str, Any],
        iou_cost: Mapping[str, Any] | None = None,
        pc_range: Sequence[float] | None = None,
        code_weights: Sequence[float] = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2),
    ) -> None:
        self.cls_cost: FocalLossCost = build(cls_cost, MODELS)
        self.reg_cost: BBox3DL1Cost = build(reg_cost, MODELS)
        if iou_cost is not None:
            build(iou_cost, MODELS)
        self.code_weights = tuple(code_weights)

    def cost(self, logits: Tensor, codes: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Cost of every pair.

        Args:
            logits: (L, B, Q, K).
            codes: (L, B, Q, 10).
            targets: (B, M, 10) encoded boxes.
            labels: (B, M).

        Returns:
            (L, B, Q, M).
        """
        layers, _, queries, _ = logits.shape
        index = labels[None, :, None].expand(layers, -1, queries, -1)
        cls_cost = self.cls_cost.per_class(logits).gather(-1, index)
        weights = codes.new_tensor(self.code_weights)[:8]  # position, size and yaw
        return cls_cost + self.reg_cost.distance(codes[..., :8] * weights, targets[..., :8] * weights)

    @torch.no_grad()
    def assign(self, logits: Tensor, codes: Tensor, targets: Tensor, labels: Tensor, counts: Sequence[int]) -> Matches:
        """Match; arguments as in `cost`, of which sample b uses the first `counts[b]` boxes."""
        device = logits.device
        rows: list[np.ndarray] = []
        if max(counts) > 0:
            logits, codes, targets = (at_least_float32(x) for x in (logits, codes, targets))
            cost = self.cost(logits, codes, targets, labels).cpu().numpy()
            cost = np.nan_to_num(cost, nan=UNUSABLE_COST, posinf=UNUSABLE_COST, neginf=-UNUSABLE_COST)
            for layer, layer_cost in enumerate(cost):
                for sample, count in enumerate(counts):
                    query, box = linear_sum_assignment(layer_cost[sample, :, :count])
                    rows.append(np.stack([np.full_like(query, layer), np.full_like(query, sample), query, box]))
        pairs = np.concatenate(rows, axis=1) if rows else np.zeros((4, 0), dtype=np.int64)
        return Matches(*torch.from_numpy(pairs).to(device))
