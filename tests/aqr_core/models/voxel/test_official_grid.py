"""Upstream's 0.1 m geometry: 1080 cells of range over an encoder of 1024; what lies beyond is dropped."""

from __future__ import annotations

import pytest
import torch

from aqr_core.models.voxel import HardSimpleVFE, HardVoxelize, SparseEncoder
from aqr_core.models.voxel.sparse_tensor import batch_coords

SHAPE = (41, 1024, 1024)
CELL = 0.8  # of the map, in m


@pytest.fixture(scope="module")
def voxelize() -> HardVoxelize:
    return HardVoxelize(voxel_size=[0.1, 0.1, 0.2], point_cloud_range=[-54.0, -54.0, -5.0, 54.0, 54.0, 3.0])


@pytest.fixture(scope="module")
def encoder() -> SparseEncoder:
    torch.manual_seed(0)
    model = SparseEncoder(
        5,
        SHAPE,
        output_channels=2,
        base_channels=2,
        encoder_channels=((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2)),
        encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
        backend="torch",
    ).eval()
    for name, parameter in model.named_parameters():  # positive everywhere: no path of a voxel is cut by a ReLU
        parameter.data = torch.full_like(parameter, 0.05 if "weight" in name and parameter.ndim == 5 else 1.0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.zeros_(module.bias)
    return model


def bev(voxelize, encoder, points: list[torch.Tensor]) -> torch.Tensor:
    voxels = [voxelize(p) for p in points]
    features = torch.cat([HardSimpleVFE(5)(v) for v in voxels])
    with torch.no_grad():
        return encoder(features, batch_coords([v.coords for v in voxels]), len(points))


def point(x: float, y: float, z: float = 0.1) -> torch.Tensor:
    return torch.tensor([[x, y, z, 100.0, 0.0]])


@pytest.mark.parametrize(("x", "kept"), [(48.39, True), (48.41, False), (53.99, False), (-54.0, True), (0.0, True)])
def test_the_encoder_ends_at_48_4_m(voxelize, encoder, x, kept):
    for at in (point(x, 1.0), point(1.0, x)):
        assert len(voxelize(at)) == 1  # the range goes on
        assert bool(bev(voxelize, encoder, [at]).abs().sum() > 0) is kept


def test_out_of_grid_voxels_neither_alias_nor_touch_their_neighbours(encoder):
    """Upstream's keys would put (z, y, 1024 + x) on (z, y + 1, x) and (z, 1024 + y, x) on (z + 1, y, x)."""
    inside = torch.tensor([[0, 20, 501, 3], [0, 21, 7, 500], [0, 20, 500, 1023], [0, 20, 1023, 500]])
    beyond = torch.tensor([[0, 20, 500, 1027], [0, 20, 1031, 500], [0, 20, 500, 1024], [0, 20, 1024, 500]])
    features = torch.rand(8, 5)
    with torch.no_grad():
        everything = encoder(features, torch.cat([inside, beyond]), 1)
        assert torch.equal(everything, encoder(features[:4], inside, 1))


def test_equals_an_encoder_whose_points_were_cropped(voxelize, encoder):
    generator = torch.Generator().manual_seed(0)
    clouds = [torch.rand(400, 5, generator=generator) * 108 - 54 for _ in range(2)]
    for cloud in clouds:
        cloud[:, 2] = cloud[:, 2] / 20
    cropped = [cloud[(cloud[:, :2] < 48.39).all(dim=1)] for cloud in clouds]
    near_the_edge = torch.cat(clouds)[:, :2]
    assert not ((near_the_edge >= 48.39) & (near_the_edge < 48.41)).any()
    assert sum(map(len, cropped)) < 760
    assert torch.equal(bev(voxelize, encoder, clouds), bev(voxelize, encoder, cropped))


@pytest.mark.parametrize("i", [0, 1, 2, 63, 64, 126, 127])
@pytest.mark.parametrize("part", ["lower", "upper"])
def test_cell_i_of_the_map_begins_at_minus_54_plus_0_8_i(voxelize, encoder, i, part):
    """A stride-2 layer (kernel 3, padding 1) takes 2i to i, and 2i + 1 to i and i + 1: 8i to i, 8i + 7 to both."""
    j = 127 - i
    offset = 0.05 if part == "lower" else CELL - 0.05
    reached = bev(voxelize, encoder, [point(-54 + CELL * i + offset, -54 + CELL * j + offset)])[0].sum(0).nonzero()
    spread = [0] if part == "lower" else [0, 1]
    expected = {(j + dj, i + di) for dj in spread for di in spread if j + dj < 128 and i + di < 128}
    assert set(map(tuple, reached.tolist())) == expected


def test_masked_lidar_and_an_empty_last_sample(voxelize, encoder):
    masked, nothing = torch.zeros(1000, 5), torch.zeros(0, 5)
    out = bev(voxelize, encoder, [point(5.0, 5.0), masked, nothing])
    assert out.shape == (3, 4, 128, 128)
    assert out[2].abs().sum() == 0
