"""Attention with a materialised bias: the reference, slow and large."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aqr_core.models.aqr.windows import WindowTable
from aqr_core.models.precision import HALF


@dataclass(frozen=True, eq=False)
class DenseBias:
    """A bias for every query and token, shared by all heads and layers.

    Attributes:
        value: (B, 1, Q, T).
        half_storage: the bias takes the dtype of half-precision queries; else those are computed in float32.
    """

    value: Tensor
    half_storage: bool = True

    @classmethod
    def of_windows(cls, windows: WindowTable, value: Tensor, num_tokens: int, half_storage: bool = True) -> DenseBias:
        """(P,) bias of the P valid slots of the windows, 0 elsewhere."""
        batch, queries = windows.index.shape[:2]
        row = windows.slot // windows.index.shape[2]
        place = row * num_tokens + windows.index.flatten()[windows.slot]
        dense = value.new_zeros(batch * queries * num_tokens).index_put((place,), value)
        return cls(dense.view(batch, 1, queries, num_tokens), half_storage)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c)."""
        dtype = query.dtype
        if dtype in HALF and not self.half_storage:
            query, key, value = query.float(), key.float(), value.float()
        bias = self.value.to(query.dtype)
        with torch.autocast(query.device.type, enabled=False):
            if not query.is_cuda:
                # No CPU kernel has a gradient for the mask, and the fallback of torch's function is slower than this.
                logits = (query / math.sqrt(query.shape[-1])) @ key.mT
                return (logits.add_(bias).softmax(dim=-1) @ value).to(dtype)
            if bias.requires_grad and not query.requires_grad:
                # The kernel keeps the log-sum-exp for its backward only if the queries, keys or values need a
                # gradient, and reads it for the gradient of the mask as well (pytorch 148476: illegal memory access).
                query = query.detach().requires_grad_()
            return F.scaled_dot_product_attention(query, key, value, attn_mask=bias).to(dtype)
