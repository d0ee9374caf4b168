"""Windows of memory tokens around each query, as index tables instead of (B, Q, T) masks.

Tokens are ordered BEV row-major first, then camera, row, column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.projection import QueryCells
from aqr_core.models.aqr.window_pairs import WindowPairs

VIEWS = ("all", "first")


@dataclass(frozen=True, eq=False)
class WindowTable:
    """Tokens near each query; every valid token of a query appears once.

    Attributes:
        index: (B, Q, W) token, 0 where not valid.
        valid: (B, Q, W) bool.
        is_camera: (W,) bool, whether the slot holds image tokens.
        distance_sq: (W,) squared distance to the query's cell, in cells.
    """

    index: Tensor
    valid: Tensor
    is_camera: Tensor
    distance_sq: Tensor
    _pairs: dict[tuple[int, int], WindowPairs] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def slot(self) -> Tensor:
        """(P,) the valid slots in the flattened table, ascending: the order of the pairs."""
        return self.valid.flatten().nonzero().squeeze(1)

    def pairs(self, num_tokens: int, heads: int) -> WindowPairs:
        """The valid slots as pairs of rows, made once for all layers and their backward passes."""
        if (num_tokens, heads) not in self._pairs:
            self._pairs[num_tokens, heads] = WindowPairs.build(self.index, self.slot, num_tokens, heads)
        return self._pairs[num_tokens, heads]


def first_offset(edge: int) -> int:
    """Where a window starts: centred for odd edges, one more cell below and right for even ones."""
    return -((edge - 1) // 2)


def window_offsets(edge: int, device: torch.device) -> Tensor:
    """(edge * edge, 2) row and column offsets."""
    offset = torch.arange(edge, device=device) + first_offset(edge)
    return torch.cartesian_prod(offset, offset)


def build_windows(cells: QueryCells, edges: tuple[int, int], views: str = "all") -> WindowTable:
    """Tokens in square windows around each query's cells; cells off the map are dropped, never clamped.

    Args:
        cells: from `locate_queries`.
        edges: (camera, lidar) window edge in cells.
        views: 'all' gives a window in every camera that sees the query, 'first' in the first of them only.
    """
    device = cells.in_bev.device
    batch, queries = cells.in_bev.shape
    index, valid, is_camera, distance_sq = [], [], [], []
    if cells.shapes.bev is not None:
        offsets = window_offsets(edges[1], device)
        token, inside = _tokens(cells.bev_cell, cells.in_bev, offsets, cells.shapes.bev)
        index.append(token)
        valid.append(inside)
        is_camera.append(torch.zeros(len(offsets), dtype=torch.bool, device=device))
        distance_sq.append(offsets.square().sum(dim=-1))
    if cells.shapes.image is not None:
        camera, seen = _compact_cameras(seeing_cameras(cells.visible, views))  # (B, Q, S)
        cell = cells.image_cell.gather(2, camera.unsqueeze(-1).expand(-1, -1, -1, 2))
        offsets = window_offsets(edges[0], device)
        rows, cols = cells.shapes.image[1:]
        token, inside = _tokens(cell, seen, offsets, (rows, cols))
        token = token + (cells.shapes.num_bev + camera * rows * cols).unsqueeze(-1)
        index.append(token.flatten(2))
        valid.append(inside.flatten(2))
        slots = camera.shape[2] * len(offsets)
        is_camera.append(torch.ones(slots, dtype=torch.bool, device=device))
        distance_sq.append(offsets.square().sum(dim=-1).repeat(camera.shape[2]))
    mask = torch.cat(valid, dim=-1)
    return WindowTable(
        index=torch.where(mask, torch.cat(index, dim=-1), 0).view(batch, queries, -1),
        valid=mask,
        is_camera=torch.cat(is_camera),
        distance_sq=torch.cat(distance_sq).float(),
    )


def seeing_cameras(visible: Tensor, views: str) -> Tensor:
    """(B, Q, N) bool, the cameras in which a query has a window: all that see it, or the first of them."""
    return visible & (visible.cumsum(dim=-1) == 1) if views == "first" else visible


def check_window_edges(name: str, edges: int | Sequence[int]) -> tuple[int, int]:
    """`[camera, lidar]` edges, or one for both.

    Raises:
        ConfigError: not one or two positive integers.
    """
    pair = tuple(edges) if isinstance(edges, Sequence) else (edges, edges)
    if len(pair) != 2 or any(not isinstance(edge, int) or edge < 1 for edge in pair):
        raise ConfigError(f"{name} is {edges!r}; give a positive whole number of cells, or two as [camera, lidar].")
    return pair


def check_views(views: str) -> str:
    """`views` if it is one of `VIEWS`, else a `ConfigError`."""
    if views not in VIEWS:
        raise ConfigError(f"views is {views!r}; allowed are {' and '.join(map(repr, VIEWS))}.")
    return views


def _tokens(cell: Tensor, present: Tensor, offsets: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(..., 2) cells and (...) bool -> (..., w * w) flat index in one map, and which are on it."""
    position = cell.unsqueeze(-2) + offsets
    row, col = position.unbind(-1)
    inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1]) & present.unsqueeze(-1)
    return row * shape[1] + col, inside


def _compact_cameras(visible: Tensor) -> tuple[Tensor, Tensor]:
    """(B, Q, N) -> (B, Q, S) camera ids and whether they see the query; S is the most that any query needs."""
    seen, camera = visible.to(torch.uint8).sort(dim=-1, descending=True, stable=True)
    most = int(visible.sum(dim=-1).max()) if visible.numel() else 0
    return camera[..., :most], seen[..., :most].bool()
