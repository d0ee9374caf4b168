"""Windows of a query as rectangles of map cells, and cells as metres or pixels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aqr_core.models.aqr import QueryCells, build_windows


@dataclass(frozen=True)
class WindowRectangle:
    """The cells `[top, bottom) x [left, right)` of one map.

    Attributes:
        camera: number of the image, None for the BEV map.
        top, bottom: rows.
        left, right: columns.
    """

    camera: int | None
    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class MapGrid:
    """Where the cells of a map lie: metres of the LiDAR frame for the BEV map, pixels for an image.

    Attributes:
        x, y: outer corner of cell (0, 0).
        cell_x, cell_y: edges of a cell, along columns and rows.
        rows, cols: of the map.
    """

    x: float
    y: float
    cell_x: float
    cell_y: float
    rows: int
    cols: int

    def position(self, row: float, col: float) -> tuple[float, float]:
        """(x, y) of a place in cells; the middle of cell (i, j) is at (i + 0.5, j + 0.5)."""
        return self.x + col * self.cell_x, self.y + row * self.cell_y


def window_rectangles(
    cells: QueryCells, query: int, edges: tuple[int, int], views: str = "all"
) -> list[WindowRectangle]:
    """The windows of one query of the first sample, as far as they lie on their maps, BEV first.

    They are read off `build_windows`: the tokens of a window fill a rectangle.

    Args:
        cells: from `locate_queries`.
        query: number of the query.
        edges: (camera, lidar) window edge in cells.
        views: as in `build_windows`.
    """
    table = build_windows(cells.select(slice(query, query + 1)), edges, views)
    tokens = table.index[0, 0][table.valid[0, 0]]
    rectangles = []
    if cells.shapes.bev is not None:
        bev = tokens[tokens < cells.shapes.num_bev]
        if len(bev):
            rectangles.append(_rectangle(None, bev // cells.shapes.bev[1], bev % cells.shapes.bev[1]))
    if cells.shapes.image is not None:
        _, height, width = cells.shapes.image
        pixels = tokens[tokens >= cells.shapes.num_bev] - cells.shapes.num_bev
        camera = pixels // (height * width)
        for number in sorted(set(camera.tolist())):
            inside = pixels[camera == number] % (height * width)
            rectangles.append(_rectangle(number, inside // width, inside % width))
    return rectangles


def _rectangle(camera: int | None, rows: Tensor, cols: Tensor) -> WindowRectangle:
    """Bounds of (n,) rows and columns."""
    return WindowRectangle(camera, int(rows.min()), int(rows.max()) + 1, int(cols.min()), int(cols.max()) + 1)
