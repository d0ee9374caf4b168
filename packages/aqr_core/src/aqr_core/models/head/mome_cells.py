"""Cells of queries exactly as MoME computes them, quirks included, so that its weights see what they were trained on.

Differences to `locate_queries`: all in float32; depth clamped to 1e-5 instead of dropped; BEV cells by fractions of
the range; a reference of exactly 1 in x wraps into the next row; the first camera that sees a reference is the only
one, and where none does it is camera 0 with its upper left cell. MoME's constants (180 x 180 cells, six cameras of
40 x 100) follow from the maps here.
Source: `MultiExpert` of github.com/konyul/MoME.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aqr_core.models.aqr.projection import MapShapes, QueryCells
from aqr_core.models.head.queries import fraction_to_metres

MIN_DEPTH = 1e-5


@torch.no_grad()
def locate_like_mome(
    reference: Tensor, lidar2img: Tensor, *, shapes: MapShapes, pad_shape: tuple[int, int], pc_range: Sequence[float]
) -> QueryCells:
    """Cells for `build_windows`; both maps must be there.

    Args:
        reference: (B, Q, 3) in fractions of the range.
        lidar2img: (B, N, 4, 4).
        shapes: of the maps.
        pad_shape: (height, width) of the padded images in px.
        pc_range: x, y, z minimum and maximum in metres.
    """
    assert shapes.bev is not None and shapes.image is not None
    points = fraction_to_metres(reference.float(), pc_range)
    low = points.new_tensor(pc_range[:2])
    extent = points.new_tensor(pc_range[3:5]) - low
    cells = points.new_tensor(shapes.bev[::-1])  # along x, y
    col, row = torch.floor((points[..., :2] - low) * cells / extent).long().unbind(-1)
    flat = row * shapes.bev[1] + col
    bev_cell = torch.stack([flat // shapes.bev[1], flat % shapes.bev[1]], dim=-1)

    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    projected = (lidar2img.float()[:, None] @ homogeneous[:, :, None, :, None]).squeeze(-1)  # (B, Q, N, 4)
    u, v = (projected[..., :2] / projected[..., 2:3].clamp(min=MIN_DEPTH)).unbind(-1)
    visible = (u >= 0) & (u < pad_shape[1]) & (v >= 0) & (v < pad_shape[0])
    pixel = torch.stack([v * (shapes.image[1] / pad_shape[0]), u * (shapes.image[2] / pad_shape[1])], dim=-1)
    image_cell = torch.where(visible.unsqueeze(-1), torch.floor(pixel), 0.0).long()
    unseen = ~visible.any(dim=-1)
    visible[..., 0] |= unseen
    first = visible & (visible.cumsum(dim=-1) == 1)
    return QueryCells(shapes, bev_cell, torch.ones_like(unseen), image_cell, first)
