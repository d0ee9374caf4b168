"""Voxelisation against a loop that does what the sentence says."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.voxel import HardSimpleVFE, HardVoxelize
from aqr_core.registry import MODELS, build

RANGE = [-4.0, -4.0, -1.0, 4.0, 4.0, 1.0]
VOXEL = [0.5, 0.5, 0.25]


def layer(**changes) -> HardVoxelize:
    return HardVoxelize(**{"voxel_size": VOXEL, "point_cloud_range": RANGE, "max_num_points": 3, **changes})


def naive(points: torch.Tensor, max_num_points: int, max_voxels: int) -> dict[tuple, torch.Tensor]:
    """{(z, y, x): mean of the kept points}, voxel by voxel in the order of first appearance."""
    low, size = torch.tensor(RANGE[:3]), torch.tensor(VOXEL)
    voxels: dict[tuple, list] = {}
    for point in points:
        cell = torch.floor((point[:3] - low) / size)
        x, y, z = (int(c) for c in cell)
        if not (0 <= x < 16 and 0 <= y < 16 and 0 <= z < 8):
            continue
        if (z, y, x) not in voxels and len(voxels) == max_voxels:
            continue
        members = voxels.setdefault((z, y, x), [])
        if len(members) < max_num_points:
            members.append(point)
    return {cell: torch.stack(members).sum(0) / len(members) for cell, members in voxels.items()}


@pytest.mark.parametrize("max_voxels", [10_000, 40, 1])
def test_equals_the_naive_loop(max_voxels):
    torch.manual_seed(0)
    points = torch.randn(800, 5) * torch.tensor([2.5, 2.5, 0.6, 50.0, 0.1])
    voxels = layer(max_voxels=max_voxels)(points)
    features = HardSimpleVFE(5)(voxels)
    expected = naive(points, 3, max_voxels)
    assert [tuple(c) for c in voxels.coords.tolist()] == sorted(expected)
    torch.testing.assert_close(features, torch.stack([expected[cell] for cell in sorted(expected)]))


def test_faces_belong_to_the_upper_cell_and_the_range_is_half_open():
    points = torch.tensor([[-4.0, -4.0, -1.0], [-3.5, -4.0, -1.0], [4.0, 0.0, 0.0], [3.999, 3.999, 0.999]])
    voxels = layer(num_point_features=3)(points)
    assert voxels.coords.tolist() == [[0, 0, 0], [0, 0, 1], [7, 15, 15]]


def test_first_points_count_in_their_order():
    points = torch.tensor([[0.1, 0.1, 0.1, float(i), 0.0] for i in range(6)])
    assert layer()(points).points[:, 3].tolist() == [0.0, 1.0, 2.0]
    assert HardSimpleVFE(4)(layer()(points))[0, 3].item() == 1.0


def test_no_points_and_no_finite_points():
    for points in (torch.zeros(0, 5), torch.full((4, 5), float("nan")), torch.full((4, 5), 1e9)):
        voxels = layer()(points)
        assert len(voxels) == 0
        assert HardSimpleVFE(5)(voxels).shape == (0, 5)


def test_caps_follow_the_mode():
    points = torch.tensor([[x, 0.1, 0.1, 0, 0] for x in (-3.9, -2.9, -1.9, 1.1)])
    voxelize = layer(max_voxels=(2, 3))
    assert len(voxelize.train()(points)) == 2
    assert len(voxelize.eval()(points)) == 3


def test_half_precision_points_are_binned_in_float32():
    points = torch.tensor([[1.5, -0.5, 0.25, 3.0, 0.0]])
    assert torch.equal(layer()(points.half()).coords, layer()(points).coords)
    assert layer()(points.half()).points.dtype == torch.float32


def test_grid_of_the_official_range():
    voxelize = build(
        dict(
            type="SPConvVoxelization",
            num_point_features=5,
            max_num_points=10,
            voxel_size=[0.1, 0.1, 0.2],
            max_voxels=(120000, 160000),
            point_cloud_range=[-54.0, -54.0, -5.0, 54.0, 54.0, 3.0],
        ),
        MODELS,
    )
    assert voxelize.grid_size == (1080, 1080, 40)
    assert voxelize.sparse_shape == (41, 1080, 1080)


@pytest.mark.parametrize(
    "changes", [dict(voxel_size=[0.5, 0.5]), dict(voxel_size=[0.5, 0, 1]), dict(point_cloud_range=[0, 0, 0, 1, 1, 0])]
)
def test_bad_geometry(changes):
    with pytest.raises(ConfigError):
        layer(**changes)
