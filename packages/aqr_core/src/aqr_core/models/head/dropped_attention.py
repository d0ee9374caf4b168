"""Attention with dropout of its probabilities on a CPU, where torch has no fused kernel for it.

Torch's own way keeps three (B, A, Q, T) tensors for the backward pass and draws its mask number by number; here one and
a mask of bytes are kept, and a draw of 64 bits decides on four probabilities (docs/benchmarks/training.md).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_BITS = 16  # per decision: the share that is dropped is right to 1e-5, and the scale fits the share


def attend_with_dropout(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention over A heads.

    Args:
        query: (B, A, Q, c), float32 or float64.
        key: (B, A, T, c).
        value: (B, A, T, c).
        allowed: (Q, T) bool, True where a query may look; None lets it look everywhere.
        dropout: share of the probabilities, below 1; drawn from torch's generator of the CPU.

    Returns:
        (B, A, Q, c).
    """
    out: Tensor = _DroppedAttention.apply(query, key, value, allowed, dropout)
    return out


class _DroppedAttention(Function):
    """(B, A, Q, c), (B, A, T, c), (B, A, T, c), mask (Q, T) True where a query may look, or None -> (B, A, Q, c)."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,  # noqa: ANN401 - as torch names no type
        query: Tensor,
        key: Tensor,
        value: Tensor,
        allowed: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """Softmax, dropout, product."""
        logits = (query @ key.mT).mul_(1 / math.sqrt(query.shape[-1]))
        if allowed is not None:
            logits.masked_fill_(~allowed, -math.inf)
        probabilities = torch.softmax(logits, dim=-1)
        kept, scale = keep_mask(probabilities.shape, dropout)
        ctx.save_for_backward(query, key, value, probabilities, kept)
        ctx.scale = scale
        return torch.mul(probabilities, kept, out=logits) @ value.mul(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override] # noqa: ANN401
        """As of the three steps."""
        query, key, value, probabilities, kept = ctx.saved_tensors
        grad = grad * ctx.scale
        work = torch.mul(probabilities, kept)
        grad_value = work.mT @ grad
        torch.matmul(grad, value.mT, out=work).mul_(kept)
        grad_logits = torch._softmax_backward_data(work, probabilities, -1, work.dtype)
        grad_logits.mul_(1 / math.sqrt(query.shape[-1]))
        return grad_logits @ key, grad_logits.mT @ query, grad_value, None, None


def keep_mask(shape: torch.Size, dropout: float) -> tuple[Tensor, float]:
    """Which probabilities stay, and the factor that keeps their expectation."""
    threshold = round(dropout * 2**_BITS)
    draws = torch.empty(math.ceil(shape.numel() / 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = draws[: shape.numel()].view(shape) >= threshold - 2 ** (_BITS - 1)
    return kept, 2**_BITS / (2**_BITS - threshold)
