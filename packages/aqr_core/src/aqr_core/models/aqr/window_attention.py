"""Attention with a bias on window tokens, exact without a (B, Q, T) tensor: a fused pass, corrected on the windows.

With p the plain attention on a window token and b its bias, the biased output is
`(out + sum_W (e^b - 1) p v) / (1 + sum_W (e^b - 1) p)`; `out` and the log-sum-exp behind p come from a fused pass over
all tokens, the sums from the pairs of the windows. For a negative bias on a window that holds a share m of the mass the
sums cancel, and rounding grows by up to `1 / ((1 - m) + m e^b)`, 148 for b = -5: harmless in float32, fatal in half
precision, so half inputs are computed in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from aqr_core.models.aqr.fused_attention import for_kernels, fused_backward, fused_forward
from aqr_core.models.aqr.window_pairs import WindowPairs
from aqr_core.models.aqr.windows import WindowTable


@dataclass(frozen=True, eq=False)
class WindowBias:
    """A bias on the tokens of each query's windows, 0 elsewhere; shared by all heads and layers.

    Attributes:
        windows: the tokens.
        value: (P,) bias of their P valid slots.
    """

    windows: WindowTable
    value: Tensor

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c)."""
        pairs = self.windows.pairs(num_tokens=key.shape[2], heads=query.shape[1])
        return _WindowBiasedAttention.apply(query, key, value, self.value, pairs)


class _WindowBiasedAttention(Function):
    """Forward and backward are corrected in the same way.

    With the corrected output and log-sum-exp the fused backward gives the gradients as if the window tokens had no
    bias. What is missing there is the share `(e^b - 1) e^(s - lse)` of each window token.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor,
        pairs: WindowPairs,
    ) -> Tensor:
        q, k, v = (for_kernels(x) for x in (query, key, value))
        plain, lse, state = fused_forward(q, k, v)
        logits = pairs.dots(q, k) / math.sqrt(q.shape[-1])
        added = torch.exp(logits - pairs.spread(lse)) * torch.expm1(bias.to(q.dtype))  # (A, P)
        total = 1 + pairs.sum(added)  # (B, A, Q)
        out = (plain + pairs.gather(added, v)) / total.unsqueeze(-1)
        ctx.pairs = pairs
        ctx.save_for_backward(query, key, value, bias, out, lse + total.log(), logits, *state)
        return out.to(query.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        query, key, value, bias, out, lse, logits, *state = ctx.saved_tensors
        pairs: WindowPairs = ctx.pairs
        q, k, v, grad = (for_kernels(x) for x in (query, key, value, grad))
        share = torch.exp(logits - pairs.spread(lse))  # of each pair, as if without bias
        inner = pairs.dots(grad, v) - pairs.spread((grad * out).sum(dim=-1))
        needs_query, needs_key, needs_value, needs_bias, _ = ctx.needs_input_grad
        grad_query = grad_key = grad_value = grad_bias = None
        if needs_query or needs_key or needs_value:
            missing = share * torch.expm1(bias.to(q.dtype))
            missing_logits = missing * inner / math.sqrt(q.shape[-1])
            grad_q, grad_k, grad_v = fused_backward(grad, q, k, v, out, lse, state)
            if needs_query:
                grad_query = grad_q.add_(pairs.gather(missing_logits, k)).to(query.dtype)
            if needs_key:
                grad_key = grad_k.add_(pairs.deliver(missing_logits, q)).to(key.dtype)
            if needs_value:
                grad_value = grad_v.add_(pairs.deliver(missing, grad)).to(value.dtype)
        if needs_bias:
            grad_bias = (share * bias.to(q.dtype).exp() * inner).sum(dim=0).to(bias.dtype)
        return grad_query, grad_key, grad_value, grad_bias, None
