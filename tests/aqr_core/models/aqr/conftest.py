"""Queries at random cells of two small maps, and attention with their bias by any backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from aqr_core.models.aqr import AttentionBiasGenerator, MapShapes, QueryCells, attention_bias, flex_attention

SHAPES = MapShapes(bev=(6, 7), image=(3, 4, 5))  # 42 + 60 tokens
LEAVES = ("query", "key", "value", "weights")


@dataclass(frozen=True)
class Problem:
    """float64 inputs of attention with a bias: (B, A, Q, c), (B, A, T, c) twice, (B, Q, 2), and an output gradient."""

    query: Tensor
    key: Tensor
    value: Tensor
    weights: Tensor
    gradient: Tensor
    cells: QueryCells

    def rounded(self, dtype: torch.dtype) -> Problem:
        """The same with queries, keys, values and output gradient as `dtype` holds them, in float64."""
        parts = (getattr(self, name).to(dtype).double() for name in ("query", "key", "value"))
        return Problem(*parts, self.weights, self.gradient.to(dtype).double(), self.cells)

    def run(
        self,
        backend: str,
        dtype: torch.dtype = torch.float64,
        needs: Sequence[str] = LEAVES,
        device: str = "cpu",
        autocast: bool = False,
        **options: object,
    ) -> dict[str, Tensor]:
        """Output, gradients of the leaves in `needs`, and with the weights that of the scale."""
        half = dtype in (torch.float16, torch.bfloat16)
        types = dict.fromkeys(LEAVES[:3], dtype) | {"weights": torch.float32 if half else dtype}
        leaves = {
            name: getattr(self, name).to(device, kind, copy=True).requires_grad_(name in needs)
            for name, kind in types.items()
        }
        weights, learn = leaves.pop("weights"), "weights" in needs
        generator = AttentionBiasGenerator(attention_backend=backend, learnable_scale=learn, **options)
        generator.to(device, weights.dtype)
        moved = (part.to(device) for part in (getattr(self.cells, name) for name in CELLS))
        bias = generator(weights, QueryCells(self.cells.shapes, *moved))
        with torch.autocast(device, dtype if half else torch.bfloat16, enabled=autocast):
            out = bias.attend(*leaves.values())
        assert out.dtype == dtype
        out.backward(self.gradient.to(device, dtype))
        leaves["weights"] = weights
        found = {"out": out.detach(), **{name: leaves[name].grad for name in needs}}
        return {**found, "scale": generator.bias_scale.grad} if learn else found


CELLS = ("bev_cell", "in_bev", "image_cell", "visible")


@pytest.fixture(scope="session")
def random_cells() -> Callable[..., QueryCells]:
    """`make(queries, shapes, batch, seed)`: query 0 has no window, query 1 one in every map."""
    return make_cells


def make_cells(queries: int = 9, shapes: MapShapes = SHAPES, batch: int = 2, seed: int = 0) -> QueryCells:
    generator = torch.Generator().manual_seed(seed)

    def cells(rows: int, cols: int, *shape: int) -> Tensor:
        return torch.stack([torch.randint(0, n, shape, generator=generator) for n in (rows, cols)], dim=-1)

    bev, (cameras, *image) = shapes.bev or (1, 1), shapes.image or (0, 1, 1)
    in_bev = torch.rand(batch, queries, generator=generator) > 0.3
    visible = torch.rand(batch, queries, cameras, generator=generator) > 0.5
    for present in (in_bev, visible):
        present[:, 0], present[:, 1:2] = False, True
    in_bev &= shapes.bev is not None
    return QueryCells(shapes, cells(*bev, batch, queries), in_bev, cells(*image, batch, queries, cameras), visible)


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    """`make(cells, heads, channels, seed)`."""

    def make(cells: QueryCells | None = None, heads: int = 4, channels: int = 16, seed: int = 0) -> Problem:
        cells = make_cells() if cells is None else cells
        generator = torch.Generator().manual_seed(seed)
        batch, queries = cells.in_bev.shape

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        rows = (queries, cells.shapes.num_tokens, cells.shapes.num_tokens)
        q, k, v = (normal(batch, n, heads, channels).transpose(1, 2) for n in rows)
        return Problem(q, k, v, normal(batch, queries, 2), normal(batch, heads, queries, channels), cells)

    return make


@pytest.fixture
def plain_flex(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flex backend on a CPU: its score function in plain tensor operations, which have gradients there."""
    monkeypatch.setattr(attention_bias, "choose_backend", lambda requested, *_: requested)
    monkeypatch.setattr(flex_attention, "compiled_flex_attention", lambda: materialised_flex)


def materialised_flex(q: Tensor, k: Tensor, v: Tensor, score_mod: flex_attention.Score, **with_lse: object):
    dtype, (q, k, v) = q.dtype, (flex_attention.at_least_float32(x) for x in (q, k, v))
    numbers = [torch.arange(n) for n in (*q.shape[:3], k.shape[2])]
    places = (n.view([-1 if axis == i else 1 for axis in range(4)]) for i, n in enumerate(numbers))
    with torch.autocast(q.device.type, enabled=False):
        scores = score_mod(q @ k.mT / q.shape[-1] ** 0.5, *places)
        out = (scores.softmax(-1) @ v).to(dtype)
    return (out, scores.logsumexp(-1)) if with_lse else out
