"""One cross-attention with the bias of v3 over the plain fused one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aqr_core.models.aqr.projection import QueryCells
from aqr_core.models.head.attention import AttentionBias, attend
from aqr_core.registry import MODELS, build
from aqr_train.benchmarks.model_runs import Run
from aqr_train.benchmarks.parts import Mark
from aqr_train.benchmarks.turns import BACKWARD, FORWARD, SideFigures, take_turns
from aqr_train.precision import DTYPES

PLAIN = "plain fused"
_DENSE_COPIES = 4  # logits, probabilities and the gradients of both


def compare_attention(
    bias_config: Mapping[str, Any],
    cells: QueryCells,
    heads: int,
    channels: int,
    *,
    backends: Sequence[str],
    precision: str,
    rounds: int,
) -> dict[str, SideFigures]:
    """Forward and backward with the windows of these queries, per backend, and of a global bias."""
    device = cells.in_bev.device
    dtype = DTYPES[precision] or torch.float32
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    queries, tokens = cells.in_bev.shape[1], cells.shapes.num_tokens
    inputs = [draw(1, count, channels).requires_grad_() for count in (queries, tokens, tokens)]
    weights = torch.tanh(draw(1, queries, 2).float()).requires_grad_()
    grad = draw(1, heads, queries, channels // heads)
    changes: dict[str, dict[str, object]] = {name: {"attention_backend": name} for name in backends}
    changes["global bias"] = {"use_local_bias": False}
    sides = {PLAIN: _layer(inputs, None, grad)}
    for name, change in changes.items():
        bias = build({**bias_config, **change}, MODELS).to(device)
        sides[name] = _layer(inputs, bias(weights, cells), grad)
    return take_turns(sides, device, rounds)


def dense_bytes(cells: QueryCells, heads: int) -> int:
    """About what the `dense` backend holds at most, in float32."""
    return _DENSE_COPIES * heads * cells.in_bev.numel() * cells.shapes.num_tokens * 4


def _layer(inputs: Sequence[Tensor], bias: AttentionBias | None, grad: Tensor) -> Run:
    """The bias is made once and serves every run, as it serves every decoder layer."""
    heads = grad.shape[1]

    def run(mark: Mark) -> None:
        query, key, value = (x.view(1, -1, heads, x.shape[-1] // heads).transpose(1, 2) for x in inputs)
        out = attend(query, key, value, bias=bias)
        mark(FORWARD)
        torch.autograd.backward(out, grad, retain_graph=True)  # the graph of the bias
        mark(BACKWARD)
        for tensor in inputs:
            tensor.grad = None

    return run
