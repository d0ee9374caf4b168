"""No tensor of the size queries x tokens exists in the window and flex backends, at the size of the full model."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from aqr_core.models.aqr import AQRWeightGenerator, AttentionBiasGenerator, MapShapes, flex_attention
from aqr_core.models.aqr.fused_attention import fused_forward
from aqr_core.models.head.attention import CrossAttention

QUERIES = 900 + 830  # with denoising
R50, VOV = MapShapes((128, 128), (6, 20, 50)), MapShapes((180, 180), (6, 40, 100))


class LargestTensor(TorchDispatchMode):
    """Numbers in the largest tensor that an operator returns."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, torch.Tensor):
                self.size = max(self.size, value.untyped_storage().nbytes() // value.element_size())
        return out


@pytest.fixture
def fused_kernel_for_flex(monkeypatch):
    """The GPU kernel's place taken by the CPU's plain one: of the flex backend all but the score function runs."""

    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v):
            out, lse, _ = fused_forward(q, k, v)
            return out, lse

        @staticmethod
        def backward(ctx, grad, _):
            return grad, None, None

    monkeypatch.setattr("aqr_core.models.aqr.attention_bias.choose_backend", lambda requested, *_: requested)
    monkeypatch.setattr(flex_attention, "compiled_flex_attention", lambda: lambda q, k, v, **_: Plain.apply(q, k, v))


def largest_tensor(random_cells, backend, shapes):
    tokens = shapes.num_tokens
    cells = random_cells(queries=QUERIES, shapes=shapes, batch=1)
    generator = AttentionBiasGenerator(attention_backend=backend)
    weights = torch.rand(1, QUERIES, 2, requires_grad=True)
    layer = CrossAttention(256, 8)
    query, memory = torch.randn(1, QUERIES, 256), torch.randn(1, tokens, 256)
    with LargestTensor() as largest:
        bias = generator(weights, cells)
        layer(query, query, memory, memory, bias=bias).sum().backward()
    assert weights.grad.abs().max() > 0
    return largest.size


@pytest.mark.parametrize(
    ("backend", "shapes"),
    [("window", R50), ("flex", R50), pytest.param("window", VOV, marks=pytest.mark.slow)],
    ids=["window-22384", "flex-22384", "window-56400"],
)
def test_one_layer_at_full_size(random_cells, fused_kernel_for_flex, backend, shapes):
    size = largest_tensor(random_cells, backend, shapes)
    # A third: keys and values have T x 256 numbers, the pairs 8 x 1730 x some 260 (half of the cameras see each query).
    assert shapes.num_tokens * 256 <= size < QUERIES * shapes.num_tokens / 3


def test_weight_generator_at_full_size(random_cells):
    cells = random_cells(queries=QUERIES, shapes=R50, batch=1)
    generator = AQRWeightGenerator()
    query_pos, memory = torch.randn(1, QUERIES, 256), torch.randn(1, R50.num_tokens, 256)
    with LargestTensor() as largest:
        generator(query_pos, memory, memory, cells).sum().backward()
    assert largest.size < QUERIES * R50.num_tokens / 3


def test_the_watch_sees_a_dense_bias(random_cells):
    small = MapShapes((40, 40), (6, 4, 11))
    assert largest_tensor(random_cells, "dense", small) >= QUERIES * small.num_tokens
