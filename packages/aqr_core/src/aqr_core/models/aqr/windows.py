"""Windows of memory tokens around each query, as index tables instead of (B, Q, T) masks.

Tokens are ordered BEV row-major first, then camera, row, column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.models.head.queries import fraction_to_metres

MIN_DEPTH_M = 1e-3
VIEWS = ("all", "first")


@dataclass(frozen=True)
class MapShapes:
    """Shapes of the two feature maps; None for an absent modality.

    Attributes:
        bev: (Y, X) rows and columns.
        image: (N, H, W) cameras, rows and columns.
    """

    bev: tuple[int, int] | None
    image: tuple[int, int, int] | None

    @property
    def num_bev(self) -> int:
        """Number of BEV tokens."""
        return self.bev[0] * self.bev[1] if self.bev else 0

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.num_bev + (self.image[0] * self.image[1] * self.image[2] if self.image else 0)


@dataclass(frozen=True)
class QueryCells:
    """Where queries fall on the feature maps; all tensors are free of gradients.

    Attributes:
        shapes: of the maps.
        bev_cell: (B, Q, 2) row, column; meaningless where not `in_bev`.
        in_bev: (B, Q) bool.
        image_cell: (B, Q, N, 2) row, column; meaningless where not `visible`.
        visible: (B, Q, N) bool.
    """

    shapes: MapShapes
    bev_cell: Tensor
    in_bev: Tensor
    image_cell: Tensor
    visible: Tensor


@dataclass(frozen=True)
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


@torch.no_grad()
def locate_queries(
    reference: Tensor,
    lidar2img: Tensor | None,
    *,
    shapes: MapShapes,
    pad_shape: tuple[int, int],
    pc_range: Sequence[float],
    cell_m: tuple[float, float],
) -> QueryCells:
    """Project reference points onto the BEV map and the image feature maps.

    BEV cells come from metres, not from fractions of the range: upstream's 800x320 map does not fill its range.

    Args:
        reference: (B, Q, 3) in fractions of the range.
        lidar2img: (B, N, 4, 4); None without images.
        shapes: of the maps.
        pad_shape: (height, width) of the padded images in px.
        pc_range: x, y, z minimum and maximum in metres.
        cell_m: (x, y) edge of a BEV cell in metres.
    """
    points = fraction_to_metres(reference.double(), pc_range)
    batch, queries = reference.shape[:2]
    if shapes.bev is None:
        bev_cell = torch.zeros(batch, queries, 2, dtype=torch.long, device=reference.device)
        in_bev = torch.zeros(batch, queries, dtype=torch.bool, device=reference.device)
    else:
        row = torch.floor((points[..., 1] - pc_range[1]) / cell_m[1])
        col = torch.floor((points[..., 0] - pc_range[0]) / cell_m[0])
        in_bev = (row >= 0) & (row < shapes.bev[0]) & (col >= 0) & (col < shapes.bev[1])
        bev_cell = torch.stack([row, col], dim=-1).long()
    if shapes.image is None or lidar2img is None:
        image_cell = torch.zeros(batch, queries, 0, 2, dtype=torch.long, device=reference.device)
        visible = torch.zeros(batch, queries, 0, dtype=torch.bool, device=reference.device)
    else:
        matrix = lidar2img.double()
        projected = points[:, None] @ matrix[..., :3, :3].mT + matrix[..., None, :3, 3]  # (B, N, Q, 3)
        projected = projected.transpose(1, 2)  # (B, Q, N, 3)
        depth = projected[..., 2]
        u, v = (projected[..., :2] / depth.clamp(min=MIN_DEPTH_M).unsqueeze(-1)).unbind(-1)
        visible = (depth > MIN_DEPTH_M) & (u >= 0) & (u < pad_shape[1]) & (v >= 0) & (v < pad_shape[0])
        row = torch.floor(v * (shapes.image[1] / pad_shape[0]))
        col = torch.floor(u * (shapes.image[2] / pad_shape[1]))
        image_cell = torch.where(visible.unsqueeze(-1), torch.stack([row, col], dim=-1), 0.0).long()
    return QueryCells(shapes, bev_cell, in_bev, image_cell, visible)


def window_offsets(edge: int, device: torch.device) -> Tensor:
    """(edge * edge, 2) row and column offsets: centred for odd edges, one more below and right for even ones."""
    offset = torch.arange(edge, device=device) - (edge - 1) // 2
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
        camera, seen = _seeing_cameras(cells.visible, views)  # (B, Q, S)
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


def _seeing_cameras(visible: Tensor, views: str) -> tuple[Tensor, Tensor]:
    """(B, Q, N) -> (B, Q, S) camera ids and whether they see the query; S is the most that any query needs."""
    seen, camera = visible.to(torch.uint8).sort(dim=-1, descending=True, stable=True)
    most = 1 if views == "first" else int(visible.sum(dim=-1).max()) if visible.numel() else 0
    most = min(most, visible.shape[-1])
    return camera[..., :most], seen[..., :most].bool()
