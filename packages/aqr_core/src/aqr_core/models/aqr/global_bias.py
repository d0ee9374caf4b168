"""A bias on all tokens of a modality: further channels of queries and keys, for the plain fused kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aqr_core.models.precision import HALF

KERNEL_ALIGNMENT = 8  # channels; with another number the fused kernels of a GPU are slow or refuse


@dataclass(frozen=True, eq=False)
class ModalityBias:
    """A bias on all tokens of a modality per query; shared by all heads and layers.

    Attributes:
        value: (B, Q, 2) bias of BEV and of image tokens.
        num_bev: BEV tokens, which come first.
        num_tokens: T.
    """

    value: Tensor
    num_bev: int
    num_tokens: int

    @property
    def modality(self) -> Tensor:
        """(T, 2) which modality a token is, one-hot."""
        is_camera = torch.arange(self.num_tokens, device=self.value.device) >= self.num_bev
        return torch.stack([~is_camera, is_camera], dim=-1).to(self.value.dtype)

    @property
    def dense(self) -> Tensor:
        """(B, 1, Q, T) bias."""
        return (self.value @ self.modality.T).unsqueeze(1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c)."""
        heads, channels = query.shape[1], query.shape[-1]
        parts = split_for(self.value * math.sqrt(channels), query.dtype)
        bias = torch.cat(parts, dim=-1).unsqueeze(1).expand(-1, heads, -1, -1)
        modality = self.modality.to(key.dtype).repeat(1, len(parts)).expand(*key.shape[:2], -1, -1)
        extra = bias.shape[-1]
        padding = -(channels + extra) % KERNEL_ALIGNMENT if query.is_cuda else 0
        q = F.pad(torch.cat([query, bias], -1), (0, padding))
        k = F.pad(torch.cat([key, modality], -1), (0, padding))
        v = F.pad(value, (0, extra + padding))
        return F.scaled_dot_product_attention(q, k, v, scale=1 / math.sqrt(channels))[..., :channels]


def split_for(x: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Tensors of `dtype` that add up to `x`; in half precision a high and a low part, whose rounding is harmless.

    One part alone would be off by up to 2 in 1000 in bfloat16, and so all tokens of a modality by the same factor.
    """
    high = x.to(dtype)
    return [high, (x - high).to(dtype)] if dtype in HALF else [high]
