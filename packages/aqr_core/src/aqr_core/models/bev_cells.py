"""Where the cells of the BEV map lie, and where their positional codes say that they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqr_core.errors import ConfigError


@dataclass(frozen=True)
class BevCells:
    """The two readings of a BEV map; they differ in upstream's 0.1 m config alone (docs/cmt.md).

    Attributes:
        pc_range: x, y, z minimum, then maximum, m.
        downsample_scale: cell edge in voxels.
        voxel_size: x, y, z, m; without it the map is taken to fill the range.
        grid_size: voxels along x, y, z that upstream's code counts; without it cells are coded where they are.
    """

    pc_range: Sequence[float]
    downsample_scale: int
    voxel_size: Sequence[float] | None = None
    grid_size: Sequence[int] | None = None

    @property
    def extent_m(self) -> tuple[float, float]:
        """Length of the range in x and y."""
        x0, y0, _, x1, y1, _ = self.pc_range
        return x1 - x0, y1 - y0

    def edge_m(self, shape: tuple[int, int]) -> tuple[float, float]:
        """(x, y) edge of a cell of a map with (Y, X) rows and columns, m."""
        if self.voxel_size is not None:
            return self.voxel_size[0] * self.downsample_scale, self.voxel_size[1] * self.downsample_scale
        rows, cols = shape
        return self.extent_m[0] / cols, self.extent_m[1] / rows

    def coded_edge(self, shape: tuple[int, int]) -> tuple[float, float]:
        """(x, y) edge of a cell according to its code, in fractions of the range.

        Raises:
            ConfigError: the map has not the cells that `grid_size` promises.
        """
        if self.grid_size is None:
            edge_x, edge_y = self.edge_m(shape)
            return edge_x / self.extent_m[0], edge_y / self.extent_m[1]
        rows, cols = self.grid_size[1] // self.downsample_scale, self.grid_size[0] // self.downsample_scale
        if shape != (rows, cols):
            raise ConfigError(
                f"The BEV map has {shape[0]} x {shape[1]} cells but grid_size {list(self.grid_size)} over "
                f"downsample_scale {self.downsample_scale} gives {rows} x {cols}; correct grid_size or sparse_shape."
            )
        return 1 / rows, 1 / cols  # sic: upstream divides x by the number of rows, which suits squares alone
