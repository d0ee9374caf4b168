"""Attention with a bias computed inside the kernel from integer cells: FlexAttention, on a GPU.

The kernel sees the bias as a constant. Its gradient comes from the pairs of the windows instead: left to the kernel,
each of the Q x T scores of each head would add its (mostly zero) gradient to one of 2 Q numbers, atomically.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.attention import flex_attention as flex

from aqr_core.models.aqr.bias_rule import BiasRule
from aqr_core.models.aqr.projection import MapShapes, QueryCells
from aqr_core.models.aqr.window_attention import WindowBias
from aqr_core.models.aqr.window_pairs import WindowPairs
from aqr_core.models.aqr.windows import first_offset, seeing_cameras
from aqr_core.models.precision import at_least_float32

FAR = -(2**20)  # a cell whose window reaches no map
MOST_COMPILATIONS = 64

Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class FlexBias:
    """A bias on the tokens of each query's windows, 0 elsewhere; shared by all heads and layers.

    Attributes:
        score: what FlexAttention makes of a logit, see `biased_score`.
        gradient: the same bias by pairs, through which it learns; None without gradients.
    """

    score: Score
    gradient: WindowBias | None

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c)."""
        kernel = compiled_flex_attention()
        if self.gradient is None:
            return kernel(query, key, value, score_mod=self.score)
        out, lse = kernel(query, key, value, score_mod=self.score, **_WITH_LSE)
        pairs = self.gradient.windows.pairs(num_tokens=key.shape[2], heads=query.shape[1])
        constants = (x.detach() for x in (query, key, value, getattr(lse, "lse", lse)))
        return _WithBiasGradient.apply(out, self.gradient.value, *constants, pairs)


def biased_score(strength: Tensor, cells: QueryCells, rule: BiasRule) -> Score:
    """The score modification: logit plus bias, the bias from comparisons of integer cells.

    Captured are (B, Q, 1 + N) cells and (B, Q, 2) strengths without gradient, and three numbers per token.

    Args:
        strength: (B, Q, 2) of BEV and of image windows.
        cells: where the queries are.
        rule: the windows, and the bias in them.
    """
    strength = strength.detach()
    token_map, token_row, token_col = token_cells(cells.shapes, strength.device)
    query_row, query_col = query_cells(cells, rule.views)
    camera_edge, lidar_edge = rule.edges

    def score(logit: Tensor, b: Tensor, _head: Tensor, q: Tensor, t: Tensor) -> Tensor:
        place = token_map[t]
        is_camera = place > 0
        edge = torch.where(is_camera, camera_edge, lidar_edge)
        first = torch.where(is_camera, first_offset(camera_edge), first_offset(lidar_edge))
        row = token_row[t] - query_row[b, q, place]
        col = token_col[t] - query_col[b, q, place]
        inside = (row >= first) & (row < first + edge) & (col >= first) & (col < first + edge)
        bias = rule.value(strength[b, q, is_camera.int()], row * row + col * col)
        return logit + torch.where(inside, bias, 0.0)

    return score


def token_cells(shapes: MapShapes, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(T,) int32 map of each token (0 BEV, 1 + n camera n), and its row and column there."""
    count = functools.partial(torch.arange, dtype=torch.int32, device=device)  # a copy to the GPU would wait for it
    cells = []
    if shapes.bev is not None:
        cells.append(torch.cartesian_prod(count(1), *map(count, shapes.bev)))
    if shapes.image is not None:
        cameras, *grid = shapes.image
        cells.append(torch.cartesian_prod(count(1, cameras + 1), *map(count, grid)))
    place, row, col = torch.cat(cells).T.contiguous()
    return place, row, col


def query_cells(cells: QueryCells, views: str) -> tuple[Tensor, Tensor]:
    """(B, Q, 1 + N) int32 row and column of each query on each map, `FAR` where it has no window."""
    on_bev = torch.where(cells.in_bev.unsqueeze(-1), cells.bev_cell, FAR).unsqueeze(2)
    seen = seeing_cameras(cells.visible, views)
    on_images = torch.where(seen.unsqueeze(-1), cells.image_cell, FAR)
    row, col = torch.cat([on_bev, on_images], dim=2).int().unbind(-1)
    return row.contiguous(), col.contiguous()


@functools.cache
def compiled_flex_attention() -> Callable[..., Any]:
    """FlexAttention as a fused kernel; uncompiled it would materialise the scores.

    Training, prediction, every precision, set of fields and kind of batch size are compiled apart. Past a limit of 8 in
    a process torch would go on uncompiled, with a warning alone: so there is room, and its end is an error.
    """
    dynamo = torch._dynamo.config
    dynamo.cache_size_limit = max(
        dynamo.cache_size_limit, MOST_COMPILATIONS
    )  # `recompile_limit` is unknown to torch 2.6
    return torch.compile(flex.flex_attention, fullgraph=True)


# How to ask for the log-sum-exp changed with torch 2.9.
_WITH_LSE: dict[str, Any] = (
    {"return_aux": flex.AuxRequest(lse=True)} if hasattr(flex, "AuxRequest") else {"return_lse": True}
)


class _WithBiasGradient(Function):
    """The given output, with a gradient to the bias of the pairs; that to query, key and value goes its own way."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        out: Tensor,
        bias: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lse: Tensor,
        pairs: WindowPairs,
    ) -> Tensor:
        ctx.pairs = pairs
        ctx.save_for_backward(out, bias, query, key, value, lse)
        return out.view_as(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        out, bias, query, key, value, lse, g = (at_least_float32(x) for x in (*ctx.saved_tensors, grad))
        pairs: WindowPairs = ctx.pairs
        logits = pairs.dots(query, key) / math.sqrt(query.shape[-1])
        share = torch.exp(logits + bias - pairs.spread(lse))
        inner = pairs.dots(g, value) - pairs.spread((g * out).sum(dim=-1))
        return grad, (share * inner).sum(dim=0), None, None, None, None, None
