"""`HardVoxelize` against spconv's CPU `PointToVoxel`, and at the edges of float32 and of the official grid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.models.voxel import HardSimpleVFE, HardVoxelize
from aqr_core.models.voxel.sparse_tensor import batch_coords

OFFICIAL = dict(voxel_size=[0.1, 0.1, 0.2], point_cloud_range=[-54.0, -54.0, -5.0, 54.0, 54.0, 3.0])


def by_cell(voxelize: HardVoxelize, points: torch.Tensor) -> dict[tuple, list]:
    """{(z, y, x): its points in order}."""
    voxels = voxelize(points)
    ends = [*voxels.starts[1:].tolist(), len(voxels.points)]
    groups = (voxels.points[a:b].tolist() for a, b in zip(voxels.starts.tolist(), ends, strict=True))
    return dict(zip(map(tuple, voxels.coords.tolist()), groups, strict=True))


def by_cell_of_spconv(geometry: dict, points: torch.Tensor, max_voxels: int, max_num_points: int) -> dict[tuple, list]:
    spconv = pytest.importorskip("spconv.pytorch.utils")
    size, extent = geometry["voxel_size"], geometry["point_cloud_range"]
    generate = spconv.PointToVoxel(size, extent, points.shape[1], max_voxels, max_num_points)
    slots, cells, counts = (t.clone() for t in generate(points.contiguous()))
    groups = (slot[:count].tolist() for slot, count in zip(slots, counts.tolist(), strict=True))
    return dict(zip(map(tuple, cells.tolist()), groups, strict=True))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 400),
    spread=st.sampled_from([0.3, 3.0, 60.0]),
    caps=st.sampled_from([(10_000, 10), (10_000, 2), (7, 10), (1, 1)]),
)
def test_same_voxels_and_points_as_spconv_on_cpu(seed, count, spread, caps):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 5, generator=generator) * torch.tensor([spread, spread, 2.0, 50.0, 0.1])
    max_voxels, max_num_points = caps
    ours = by_cell(HardVoxelize(**OFFICIAL, max_voxels=max_voxels, max_num_points=max_num_points), points)
    assert ours == by_cell_of_spconv(OFFICIAL, points, max_voxels, max_num_points)


def test_same_cells_as_spconv_on_and_beside_every_face():
    """Faces are where float32 and real arithmetic part: 0.1 has no exact float."""
    faces = torch.arange(1081, dtype=torch.float64).mul(0.1).sub(54).float()
    infinity = torch.tensor(torch.inf)
    values = torch.cat([faces, faces.nextafter(infinity), faces.nextafter(-infinity)])
    points = torch.stack([values, values.flip(0), torch.zeros_like(values)], dim=1)
    voxelize = HardVoxelize(**OFFICIAL, num_point_features=3)
    assert by_cell(voxelize, points) == by_cell_of_spconv(OFFICIAL, points, 10_000, 10)
    cells = ((values - torch.tensor(-54.0)) / torch.tensor(0.1)).floor()
    inside = (cells >= 0) & (cells < 1080)
    assert {x for _, _, x in by_cell(voxelize, points)} <= set(cells[inside].int().tolist())


@pytest.mark.parametrize("far", [1e30, -1e30, 3e38, 2.0**31 * 0.1, 2.0**63, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_far_and_undefined_points_vanish_and_alias_nothing(far, axis):
    points = torch.tensor([[1.0, 2.0, 0.0, 5.0, 0.0], [1.0, 2.0, 0.0, 7.0, 0.0]])
    points[1, axis] = far
    voxels = HardVoxelize(**OFFICIAL)(points)
    assert voxels.coords.tolist() == [[25, 560, 550]]
    assert voxels.points[:, 3].tolist() == [5.0]


def test_masked_lidar_is_one_voxel_with_ten_points():
    points = torch.zeros(30_000, 5)
    points[:, 3] = torch.arange(30_000)
    voxels = HardVoxelize(**OFFICIAL)(points)
    assert voxels.coords.tolist() == [[25, 540, 540]]
    assert len(voxels.points) == 10
    assert HardSimpleVFE(5)(voxels).tolist() == [[0.0, 0.0, 0.0, 4.5, 0.0]]  # the mean of 0 .. 9


def test_last_sample_without_points_keeps_its_place():
    voxelize, encode = HardVoxelize(**OFFICIAL), HardSimpleVFE(5)
    voxels = [voxelize(points) for points in (torch.ones(3, 5), torch.zeros(0, 5))]
    assert batch_coords([v.coords for v in voxels]).tolist() == [[0, 30, 550, 550]]
    assert torch.cat([encode(v) for v in voxels]).tolist() == [[1.0] * 5]
