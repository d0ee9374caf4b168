"""Attention with dropout on a CPU: against torch's own attention, finite differences, and counting."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from aqr_core.models.head.attention import attend
from aqr_core.models.head.dropped_attention import attend_with_dropout, keep_mask

SHAPE = (2, 3, 7, 4)  # B, A, Q, c
TINY = 1e-6  # a dropout that drops nothing


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(SHAPE, generator=generator, dtype=dtype) for _ in range(3))
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


@pytest.mark.parametrize("masked", [False, True])
def test_without_drops_it_is_torchs_attention(masked: bool) -> None:
    allowed = torch.ones(7, 7, dtype=torch.bool).tril() if masked else None
    found = []
    for attention in (
        lambda q, k, v: attend_with_dropout(q, k, v, allowed, TINY),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=allowed),
    ):
        query, key, value = inputs()
        out = attention(query, key, value)
        out.square().sum().backward()
        found.append((out, query.grad, key.grad, value.grad))
    for ours, torchs in zip(*found, strict=True):
        assert torch.allclose(ours, torchs, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    allowed = torch.ones(7, 7, dtype=torch.bool).tril()

    def drawn_alike(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return attend_with_dropout(*tensors, allowed, 0.3)

    assert torch.autograd.gradcheck(drawn_alike, inputs())


def test_with_its_mask_it_is_softmax_dropout_product() -> None:
    query, key, value = inputs()
    torch.manual_seed(5)
    kept, scale = keep_mask(torch.Size((2, 3, 7, 7)), 0.4)
    torch.manual_seed(5)
    out = attend_with_dropout(query, key, value, None, 0.4)
    probabilities = (query @ key.mT / math.sqrt(4)).softmax(-1)
    assert torch.allclose(out, (probabilities * kept * scale) @ value)


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_the_share_that_is_kept(dropout: float) -> None:
    torch.manual_seed(0)
    kept, scale = keep_mask(torch.Size((1000, 1001)), dropout)
    share = float(kept.double().mean())
    assert share == pytest.approx(1 - dropout, abs=4 * math.sqrt(dropout * (1 - dropout) / 1_001_000))
    assert scale == pytest.approx(1 / (1 - dropout), rel=1e-3)
    neighbours = (kept[:, 1:] == kept[:, :-1]).double().mean()  # four of them come from one draw
    assert float(neighbours) == pytest.approx(dropout**2 + (1 - dropout) ** 2, abs=3e-3)


def test_it_keeps_five_bytes_per_probability() -> None:
    query, key, value = inputs(torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        attend(query, key, value, dropout=0.1)
    sizes = sorted(tensor.numel() * tensor.element_size() for tensor in kept)
    probabilities, small = 2 * 3 * 7 * 7, 4 * math.prod(SHAPE)
    assert sizes == sorted([probabilities, 4 * probabilities, small, small, small])


def test_half_precision_is_left_to_torch() -> None:
    half = [tensor.detach().bfloat16() for tensor in inputs()]
    assert attend(*half, dropout=0.1).dtype == torch.bfloat16
