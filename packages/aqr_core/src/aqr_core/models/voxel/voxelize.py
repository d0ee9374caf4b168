"""Points -> voxels: which points share a cell, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.registry import MODELS


@dataclass(frozen=True)
class Voxels:
    """Points grouped by voxel, ragged instead of padded to (V, max_num_points, C).

    Attributes:
        points: (P', C) kept points; those of one voxel are adjacent and in their original order.
        starts: (V,) int64 row of each voxel's first point.
        coords: (V, 3) int64 z, y, x in lexicographic order.
    """

    points: Tensor
    starts: Tensor
    coords: Tensor

    def __len__(self) -> int:
        return len(self.coords)

    def padded(self, max_num_points: int) -> tuple[Tensor, Tensor]:
        """(V, max_num_points, C) points, zeros behind those of a voxel, and (V,) int64 their number: mmdet3d's form."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.points)])])
        counts = ends[: len(self)] - self.starts
        voxel = torch.arange(len(self), device=counts.device).repeat_interleave(counts)
        place = torch.arange(len(self.points), device=counts.device) - self.starts[voxel]
        padded = self.points.new_zeros(len(self), max_num_points, self.points.shape[1])
        padded[voxel, place] = self.points
        return padded, counts


@MODELS.register_module(name=["HardVoxelize", "SPConvVoxelization"])
class HardVoxelize(nn.Module):
    """Cell index = floor((p - min) / voxel) in float32; points outside the range (or NaN) are dropped.

    The cells are those of spconv's `PointToVoxel`, which upstream runs on the GPU, where it is left to chance which
    points and voxels survive the caps. Here, as in its CPU version, a voxel keeps its first `max_num_points` points,
    and of more than `max_voxels` voxels those are kept that appear first in the point order.

    Args:
        voxel_size: x, y, z in m.
        point_cloud_range: x, y, z minimum, then maximum, in m.
        max_num_points: points that count in a voxel.
        max_voxels: voxels per sample, (training, evaluation) or one number for both.
        num_point_features: C, the leading point columns that are kept.
    """

    def __init__(
        self,
        voxel_size: Sequence[float],
        point_cloud_range: Sequence[float],
        max_num_points: int = 10,
        max_voxels: int | Sequence[int] = (120_000, 160_000),
        num_point_features: int = 5,
    ) -> None:
        super().__init__()
        if len(voxel_size) != 3 or min(voxel_size) <= 0:
            raise ConfigError(f"voxel_size needs three positive lengths in m, got {tuple(voxel_size)}.")
        extent = [high - low for low, high in zip(point_cloud_range[:3], point_cloud_range[3:], strict=True)]
        if len(extent) != 3 or min(extent) <= 0:
            raise ConfigError(
                f"point_cloud_range is x, y, z minimum, then maximum, in m, got {tuple(point_cloud_range)}."
            )
        self.voxel_size = tuple(voxel_size)
        self.point_cloud_range = tuple(point_cloud_range)
        self.max_num_points = max_num_points
        self.max_voxels = (max_voxels, max_voxels) if isinstance(max_voxels, int) else tuple(max_voxels)
        self.num_point_features = num_point_features
        self.grid_size = tuple(round(e / v) for e, v in zip(extent, self.voxel_size, strict=True))  # x, y, z

    @property
    def sparse_shape(self) -> tuple[int, int, int]:
        """(Z + 1, Y, X), the grid that the sparse encoder expects; upstream adds the one empty layer."""
        x, y, z = self.grid_size
        return z + 1, y, x

    @torch.no_grad()
    def forward(self, points: Tensor) -> Voxels:
        """Group the points (P, >=C) of one sample."""
        points = points[:, : self.num_point_features].float()
        low, size = points.new_tensor(self.point_cloud_range[:3]), points.new_tensor(self.voxel_size)
        cells = ((points[:, :3] - low) / size).floor()  # floats, so that nothing huge or NaN becomes an integer
        inside = ((cells >= 0) & (cells < cells.new_tensor(self.grid_size))).all(dim=1)
        rows = inside.nonzero().squeeze(1)
        x, y, z = cells.index_select(0, rows).long().unbind(1)
        size_x, size_y, size_z = self.grid_size
        keys, order = ((z * size_y + y) * size_x + x).sort(stable=True)
        rows = rows.index_select(0, order)  # (P',) rows of the points, voxel by voxel
        keys, counts = keys.unique_consecutive(return_counts=True)  # (V,), points per voxel
        starts = counts.cumsum(0) - counts
        keep = torch.arange(len(rows), device=rows.device) - starts.repeat_interleave(counts) < self.max_num_points
        limit = self.max_voxels[0 if self.training else 1]
        if len(keys) > limit:
            chosen = torch.zeros_like(keys, dtype=torch.bool)
            chosen[rows[starts].argsort()[:limit]] = True
            keep &= chosen.repeat_interleave(counts)
            keys, counts = keys[chosen], counts[chosen]
        counts = counts.clamp(max=self.max_num_points)
        coords = torch.stack(torch.unravel_index(keys, (size_z, size_y, size_x)), dim=1)
        return Voxels(points.index_select(0, rows[keep]), counts.cumsum(0) - counts, coords)
