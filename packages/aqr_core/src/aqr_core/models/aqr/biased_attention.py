"""Attention with a bias on a few keys per query: backends that compute the same function and gradients.

`dense` materialises the (B, 1, Q, T) bias. `window` is exact without it. With p the plain attention on a window key
and b its bias, the biased output is `(out + sum_W (e^b - 1) p v) / (1 + sum_W (e^b - 1) p)`, where `out` and the
log-sum-exp behind p come from a fused pass over all keys. For a negative bias on a window that holds most of the mass
the sums cancel and rounding grows by up to `1 / ((1 - m) + m e^b)`, 148 for b = -5: harmless in float32, fatal in
half precision, so half inputs are computed in float32.
"""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from aqr_core.models.aqr.window_products import flat_rows, gather_windows, pick_heads, scatter_windows, spread_heads

BACKENDS = ("auto", "dense", "window")
HALF = (torch.float16, torch.bfloat16)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowBias:
    """A bias on the window tokens of each query, 0 elsewhere; shared by all heads and layers.

    Attributes:
        index: (B, Q, W) token; no token twice for a query among the slots with a bias.
        value: (B, Q, W) bias, exactly 0 in unused slots.
        num_tokens: T.
        backend: 'auto', 'dense' or 'window'.
        half_storage: a materialised bias takes the dtype of half-precision queries; else those are computed in float32.
    """

    index: Tensor
    value: Tensor
    num_tokens: int
    backend: str = "auto"
    half_storage: bool = True

    @cached_property
    def dense(self) -> Tensor:
        """(B, 1, Q, T) bias."""
        bias = self.value.new_zeros(*self.value.shape[:2], self.num_tokens)
        return bias.scatter_add(2, self.index, self.value).unsqueeze(1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c)."""
        backend = choose_backend(self.backend, query, self.num_tokens, self.index.shape[-1])
        if backend == "dense":
            return attend_dense(query, key, value, self.dense, self.half_storage)
        working = query.dtype if query.dtype == torch.float64 else torch.float32
        q, k, v = (x.to(working) for x in (query, key, value))
        return _WindowBiasedAttention.apply(q, k, v, self.index, self.value.to(working)).to(query.dtype)


@dataclass(frozen=True)
class ModalityBias:
    """A bias on all tokens of a modality per query.

    Attributes:
        value: (B, Q, 2) bias of BEV and of image tokens.
        num_bev: BEV tokens, which come first.
        num_tokens: T.
        backend: 'auto', 'dense' or 'window'.
        half_storage: see `WindowBias`.
    """

    value: Tensor
    num_bev: int
    num_tokens: int
    backend: str = "auto"
    half_storage: bool = True

    @cached_property
    def modality(self) -> Tensor:
        """(T, 2) which modality a token is, one-hot."""
        is_camera = torch.arange(self.num_tokens, device=self.value.device) >= self.num_bev
        return torch.stack([~is_camera, is_camera], dim=-1).to(self.value.dtype)

    @cached_property
    def dense(self) -> Tensor:
        """(B, 1, Q, T) bias."""
        return (self.value @ self.modality.T).unsqueeze(1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c).

        `window` (there is none here) puts the bias into two further channels of queries and keys.
        """
        if choose_backend(self.backend, query, self.num_tokens, 2) == "dense":
            return attend_dense(query, key, value, self.dense, self.half_storage)
        heads, channels = query.shape[1], query.shape[-1]
        bias = (self.value * math.sqrt(channels)).to(query.dtype).unsqueeze(1).expand(-1, heads, -1, -1)
        modality = self.modality.to(key.dtype).expand(*key.shape[:2], -1, -1)
        q, k, v = torch.cat([query, bias], -1), torch.cat([key, modality], -1), F.pad(value, (0, 2))
        return F.scaled_dot_product_attention(q, k, v, scale=1 / math.sqrt(channels))[..., :channels]


def attend_dense(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, half_storage: bool) -> Tensor:
    """Attention with a materialised (B, 1, Q, T) bias: the reference."""
    dtype = query.dtype
    if dtype in HALF and not half_storage:
        query, key, value = query.float(), key.float(), value.float()
    bias = bias.to(query.dtype)
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias).to(dtype)
    # No CPU kernel has a gradient for the mask, and the fallback of the function above is slower than this.
    logits = (query / math.sqrt(query.shape[-1])) @ key.mT
    return (logits.add_(bias).softmax(dim=-1) @ value).to(dtype)


def choose_backend(requested: str, query: Tensor, num_tokens: int, window: int) -> str:
    """The backend to use; `auto` decides by device, dtype and the numbers that each backend would have to touch."""
    if requested != "auto":
        return requested
    heads, channels = query.shape[1], query.shape[1] * query.shape[-1]
    if query.dtype in HALF:
        backend, reason = "dense", "half precision needs it"
    elif query.device.type != "cpu":
        backend, reason = "dense", "the window backend is proven on the CPU only"
    elif window * channels < num_tokens * heads:
        backend, reason = "window", f"windows are small against {num_tokens} tokens"
    else:
        backend, reason = "dense", f"windows are large against {num_tokens} tokens"
    _log_choice(backend, query.device.type, str(query.dtype), reason)
    return backend


@functools.cache
def _log_choice(backend: str, device: str, dtype: str, reason: str) -> None:
    logger.info("Attention backend '%s' on %s in %s: %s.", backend, device, dtype, reason)


class _WindowBiasedAttention(Function):
    """Plain fused attention, corrected on the window keys; forward and backward in the same way.

    Backward: with the corrected output and log-sum-exp the fused backward gives the gradients as if the window keys
    had no bias. What is missing there is the share `(e^b - 1) e^(s - lse)` of each window key.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, index: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401
        plain, lse, state = _fused_forward(query, key, value)
        windows = _Windows(query, key, value, index)
        extra = windows.expm1(bias) * torch.exp(windows.logits - windows.per_query(lse))  # (B * Q, A, W)
        total = 1 + windows.per_head(extra.sum(dim=-1))  # (B, A, Q)
        out = (plain + windows.to_heads(extra @ windows.value)) / total.unsqueeze(-1)
        ctx.save_for_backward(query, key, value, index, bias, out, lse + total.log(), *state)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        query, key, value, index, bias, out, lse, *state = ctx.saved_tensors
        grad = grad.contiguous()
        grad_q, grad_k, grad_v = _fused_backward(grad, query, key, value, out, lse, state)
        windows = _Windows(query, key, value, index)
        share = torch.exp(windows.logits - windows.per_query(lse))  # as if without bias
        missing = windows.expm1(bias) * share
        spread_grad = spread_heads(_side_by_side(grad), windows.heads)
        inner = spread_grad @ windows.value.mT - windows.per_query((grad * out).sum(dim=-1))  # (B * Q, A, W)
        grad_logits = missing * inner * windows.scale
        grad_q = grad_q + windows.to_heads(grad_logits @ windows.key)
        grad_k = windows.add(grad_k, grad_logits.mT @ windows.query)
        grad_v = windows.add(grad_v, missing.mT @ spread_grad)
        grad_bias = ((share + missing) * inner).sum(dim=1).view(bias.shape)
        return grad_q, grad_k, grad_v, None, grad_bias


class _Windows:
    """The gathered windows of one attention call."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, index: Tensor) -> None:
        self.batch, self.heads = query.shape[:2]
        self.scale = 1 / math.sqrt(query.shape[-1])
        self.rows = flat_rows(index, key.shape[2])
        self.query = spread_heads(_side_by_side(query), self.heads)  # (B * Q, A, C)
        self.key = gather_windows(_side_by_side(key), self.rows)  # (B * Q, W, C)
        self.value = gather_windows(_side_by_side(value), self.rows)
        self.logits = self.query @ self.key.mT * self.scale  # (B * Q, A, W)

    def expm1(self, bias: Tensor) -> Tensor:
        """(B, Q, W) bias -> (B * Q, 1, W)."""
        return torch.expm1(bias).flatten(0, 1).unsqueeze(1)

    def per_query(self, x: Tensor) -> Tensor:
        """(B, A, Q) -> (B * Q, A, 1)."""
        return x.transpose(1, 2).flatten(0, 1).unsqueeze(-1)

    def per_head(self, x: Tensor) -> Tensor:
        """(B * Q, A) -> (B, A, Q)."""
        return x.unflatten(0, (self.batch, -1)).transpose(1, 2)

    def to_heads(self, x: Tensor) -> Tensor:
        """(B * Q, A, C) -> (B, A, Q, c)."""
        return pick_heads(x, self.batch).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def add(self, tokens: Tensor, added: Tensor) -> Tensor:
        """(B, A, T, c) tokens plus (B * Q, W, C) at the windows."""
        summed = scatter_windows(_side_by_side(tokens), self.rows, added)
        return summed.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _side_by_side(x: Tensor) -> Tensor:
    """(B, A, T, c) -> (B, T, A * c)."""
    return x.transpose(1, 2).flatten(2)


def _fused_forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Plain attention, its log-sum-exp (B, A, Q), and what the backward kernel needs besides."""
    if query.is_cuda:
        out, lse, seed, offset = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, compute_log_sumexp=True
        )
        return out, lse[..., : query.shape[2]], [seed, offset]
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    return out, lse, []


def _fused_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, state: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of plain attention with probabilities `e^(s - lse)` and the given output."""
    if query.is_cuda:
        padding = -lse.shape[-1] % 32  # the kernel's alignment of the log-sum-exp
        lse = F.pad(lse, (0, padding), value=math.inf)
        grads = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
            grad, query, key, value, None, out, lse, *state, 0.0, [True, True, True, False]
        )
        return grads[0], grads[1], grads[2]
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, query, key, value, out, lse, 0.0, False
    )
