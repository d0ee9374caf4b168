"""Voxels beside mmcv's and mmdet3d's hard voxelisation on a CPU, and the means of their points."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import Voxelization
from mmdet3d.models.data_preprocessors.voxelize import VoxelizationByGridShape
from torch import Tensor, nn

from aqr_core.models.voxel import HardVoxelize
from aqr_core.models.voxel.vfe import HardSimpleVFE
from aqr_core.models.voxel.voxelize import Voxels
from aqr_core.registry import MODELS, build

SIZE, RANGE = [0.25, 0.25, 0.2], [-4.0, -6.0, -1.0, 4.0, 6.0, 1.0]
Theirs = Callable[..., nn.Module]


def of_mmcv(max_num_points: int, max_voxels: tuple[int, int]) -> nn.Module:
    return Voxelization(SIZE, RANGE, max_num_points, max_voxels)


def of_mmdet3d(max_num_points: int, max_voxels: tuple[int, int]) -> nn.Module:
    return VoxelizationByGridShape(RANGE, max_num_points, SIZE, max_voxels=max_voxels)


def cloud(count: int, seed: int, spread: float = 1.0) -> Tensor:
    """(count, 5) points, a tenth of them outside of the range."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([4.4, 6.6, 1.1, 255.0, 0.5]) * spread
    return (2 * torch.rand(count, 5, generator=generator) - 1) * scale


def by_cell(voxels: Voxels) -> dict[tuple[int, ...], Tensor]:
    """Cell -> its points, in their order."""
    ends = [*voxels.starts.tolist()[1:], len(voxels.points)][: len(voxels)]
    rows = zip(voxels.coords.tolist(), voxels.starts.tolist(), ends, strict=True)
    return {tuple(cell): voxels.points[start:end] for cell, start, end in rows}


def their_cells(points: Tensor, coords: Tensor, counts: Tensor) -> dict[tuple[int, ...], Tensor]:
    return {
        tuple(cell): rows[:count] for cell, rows, count in zip(coords.tolist(), points, counts.tolist(), strict=True)
    }


@pytest.mark.parametrize("theirs", [of_mmcv, of_mmdet3d])
@settings(max_examples=40)
@given(
    count=st.integers(1, 3000),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([1.0, 0.2, 0.02]),
    max_num_points=st.integers(1, 12),
    max_voxels=st.integers(1, 400),
    training=st.booleans(),
)
def test_the_same_points_in_the_same_cells(
    theirs: Theirs, count: int, seed: int, spread: float, max_num_points: int, max_voxels: int, training: bool
) -> None:
    """Which points and voxels survive the caps included; only the order of the voxels is ours."""
    points, limits = cloud(count, seed, spread), (max_voxels, 2 * max_voxels)
    layer = HardVoxelize(SIZE, RANGE, max_num_points, limits).train(training)
    ours = by_cell(layer(points))
    expected = their_cells(*theirs(max_num_points, limits).train(training)(points))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(rows, expected[cell]) for cell, rows in ours.items())


def test_the_grid_has_their_shape() -> None:
    theirs, ours = of_mmdet3d(5, (10, 10)), HardVoxelize(SIZE, RANGE)
    assert tuple(theirs.grid_shape) == ours.grid_size == (32, 48, 10)
    assert ours.sparse_shape == (11, 48, 32)  # z first and one empty layer more, as their configs write it by hand


def test_points_on_faces_go_to_the_same_side() -> None:
    """Every multiple of a voxel's edge, the limits of the range included."""
    axes = [
        torch.arange(low, high + size / 2, size) for low, high, size in zip(RANGE[:3], RANGE[3:], SIZE, strict=True)
    ]
    grid = torch.cartesian_prod(*axes)
    points = torch.cat([grid, torch.zeros(len(grid), 2)], dim=1)
    theirs = of_mmcv(3, (100_000, 100_000))(points)
    assert by_cell(HardVoxelize(SIZE, RANGE, 3)(points)).keys() == their_cells(*theirs).keys()


def test_a_point_that_is_no_number_is_dropped_by_ours() -> None:
    points = torch.full((1, 5), float("nan"))
    assert len(HardVoxelize(SIZE, RANGE)(points)) == 0
    # theirs casts it to an integer, which is left to the processor, so nothing can be compared


def test_means_of_the_points_of_a_voxel() -> None:
    points = cloud(2000, seed=4)
    layer = HardVoxelize(SIZE, RANGE, 6, 5000)
    voxels = layer(points)
    padded, coords, counts = of_mmcv(6, (5000, 5000))(points)
    means = build(dict(type="mmdet3d.HardSimpleVFE", num_features=5), MODELS)(padded, counts, coords)
    theirs = {tuple(cell): mean for cell, mean in zip(coords.tolist(), means, strict=True)}
    expected = torch.stack([theirs[tuple(cell)] for cell in voxels.coords.tolist()])
    # Both add up to six float32 numbers of one cell, perhaps in another order.
    torch.testing.assert_close(HardSimpleVFE(5)(voxels), expected, rtol=1e-6, atol=1e-6)
    ours_padded, ours_counts = voxels.padded(6)
    where = {tuple(cell): i for i, cell in enumerate(coords.tolist())}
    order = torch.tensor([where[tuple(cell)] for cell in voxels.coords.tolist()])
    assert torch.equal(ours_padded, padded[order]) and torch.equal(ours_counts, counts[order].long())
