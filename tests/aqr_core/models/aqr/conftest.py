"""Queries at random cells of two small maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aqr_core.models.aqr import MapShapes, QueryCells

SHAPES = MapShapes(bev=(6, 7), image=(3, 4, 5))  # 42 + 60 tokens


@pytest.fixture
def random_cells() -> Callable[..., QueryCells]:
    """`make(queries, shapes, batch, seed)`: query 0 has no window, query 1 one in every map."""

    def make(queries: int = 9, shapes: MapShapes = SHAPES, batch: int = 2, seed: int = 0) -> QueryCells:
        generator = torch.Generator().manual_seed(seed)

        def cells(rows: int, cols: int, *shape: int) -> torch.Tensor:
            return torch.stack([torch.randint(0, n, shape, generator=generator) for n in (rows, cols)], dim=-1)

        bev, (cameras, *image) = shapes.bev or (1, 1), shapes.image or (0, 1, 1)
        in_bev = torch.rand(batch, queries, generator=generator) > 0.3
        visible = torch.rand(batch, queries, cameras, generator=generator) > 0.5
        for present in (in_bev, visible):
            present[:, 0], present[:, 1:2] = False, True
        in_bev &= shapes.bev is not None
        return QueryCells(shapes, cells(*bev, batch, queries), in_bev, cells(*image, batch, queries, cameras), visible)

    return make
