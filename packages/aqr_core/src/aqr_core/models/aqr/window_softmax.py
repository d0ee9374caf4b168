"""Attention of each query to the tokens of its windows alone, over the list of their pairs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from aqr_core.models.aqr.window_pairs import WindowPairs
from aqr_core.models.precision import at_least_float32


def attend_to_windows(query: Tensor, key: Tensor, value: Tensor, pairs: WindowPairs, dropout: float = 0.0) -> Tensor:
    """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c), 0 where a window is empty.

    Half precision is computed in float32; `dropout` acts on the probabilities.
    """
    q, k, v = (at_least_float32(x) for x in (query, key, value))
    logits = _Dots.apply(q / math.sqrt(q.shape[-1]), k, pairs)
    share = F.dropout(_Softmax.apply(logits, pairs), dropout, training=dropout > 0)
    return _Gather.apply(share, v, pairs).to(query.dtype)


class _Dots(Function):
    """`WindowPairs.dots` with gradients."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, pairs: WindowPairs) -> Tensor:  # noqa: ANN401
        ctx.pairs = pairs
        ctx.save_for_backward(query, key)
        return pairs.dots(query, key)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        query, key = ctx.saved_tensors
        needs_query, needs_key, _ = ctx.needs_input_grad
        grad_query = ctx.pairs.gather(grad, key) if needs_query else None
        grad_key = ctx.pairs.deliver(grad, query) if needs_key else None
        return grad_query, grad_key, None


class _Softmax(Function):
    """(A, P) logits -> probabilities among the pairs of each query."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, pairs: WindowPairs) -> Tensor:  # noqa: ANN401
        power = torch.exp(logits - pairs.spread(pairs.max(logits)))
        share = power / pairs.spread(pairs.sum(power))
        ctx.pairs = pairs
        ctx.save_for_backward(share)
        return share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (share,) = ctx.saved_tensors
        weighted = share * grad
        return weighted - share * ctx.pairs.spread(ctx.pairs.sum(weighted)), None


class _Gather(Function):
    """`WindowPairs.gather` with gradients."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, value: Tensor, pairs: WindowPairs) -> Tensor:  # noqa: ANN401
        ctx.pairs = pairs
        ctx.save_for_backward(share, value)
        return pairs.gather(share, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        share, value = ctx.saved_tensors
        needs_share, needs_value, _ = ctx.needs_input_grad
        grad_share = ctx.pairs.dots(grad, value) if needs_share else None
        grad_value = ctx.pairs.deliver(share, grad) if needs_value else None
        return grad_share, grad_value, None
