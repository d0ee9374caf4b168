"""What a head with experts returns beside boxes: who decodes each query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aqr_core.models.head.output import HeadOutput

EXPERTS = ("fused", "bev", "img")  # of MoME; choice 0, 1, 2


@dataclass(frozen=True)
class RouterOutput:
    """What the router says of Q queries.

    Attributes:
        logits: (B, Q, 3) in the order of `EXPERTS`.
        choice: (B, Q) the best of them.
    """

    logits: Tensor
    choice: Tensor

    @classmethod
    def from_logits(cls, logits: Tensor) -> RouterOutput:
        """The choice that follows from (B, Q, 3) logits; the first expert wins a draw."""
        return cls(logits, logits.argmax(dim=-1))

    def detach(self) -> RouterOutput:
        """The same without graph."""
        return RouterOutput(self.logits.detach(), self.choice)

    @torch.no_grad()
    def scalars(self) -> dict[str, float]:
        """`route_fused`, `route_bev`, `route_img`: share of the queries that each expert gets."""
        counts = self.choice.flatten().bincount(minlength=len(EXPERTS)).tolist()
        return {f"route_{name}": count / self.choice.numel() for name, count in zip(EXPERTS, counts, strict=True)}


@dataclass(frozen=True)
class RoutedOutput(HeadOutput):
    """Predictions of the routed queries, in their own order; none in training, where nothing is routed.

    Attributes:
        route: of the queries; in training with `mome_compatible`, of denoising slots and queries.
        experts: in training with `train_experts`, name -> all queries as this expert decodes them.
    """

    route: RouterOutput = field(kw_only=True)
    experts: Mapping[str, HeadOutput] = field(default_factory=dict, kw_only=True)
