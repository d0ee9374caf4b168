"""The sparse convolutions against `nn.functional.conv3d` on the dense grid."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv3d

from aqr_core.models.voxel.rulebook import submanifold_rulebook
from aqr_core.models.voxel.sparse_conv import SparseConv3d, SubMConv3d
from aqr_core.models.voxel.sparse_tensor import SparseTensor, batch_coords

SHAPE = (5, 7, 9)
STRIDED = [
    dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, stride=2, padding=(0, 1, 1)),
    dict(kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=0),
    dict(kernel_size=2, stride=2, padding=0),
]


def random_sites(count: int, batch_size: int = 2, shape=SHAPE, seed: int = 0) -> torch.Tensor:
    """(count, 4) unique cells in random order."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(batch_size * shape[0] * shape[1] * shape[2], generator=generator)[:count]
    return torch.stack(torch.unravel_index(cells, (batch_size, *shape)), dim=1)


def sparse_and_dense(count: int, channels: int, dtype=torch.float64, batch_size: int = 2, seed: int = 0):
    """A sparse tensor and the dense leaf tensor with the same values."""
    coords = random_sites(count, batch_size, seed=seed)
    torch.manual_seed(seed)
    features = torch.randn(count, channels, dtype=dtype, requires_grad=True)
    x = SparseTensor.from_coords(features, coords, SHAPE, batch_size)
    return x, features, x.dense().detach().requires_grad_()


def cells_of(x: SparseTensor, dense: torch.Tensor) -> torch.Tensor:
    """Rows of a (B, C, Z, Y, X) tensor at the sites of `x`."""
    b, z, y, x_cell = x.sites.coords.unbind(1)
    return dense.permute(0, 2, 3, 4, 1)[b, z, y, x_cell]


def dense_weight(layer) -> torch.Tensor:
    return layer.weight.detach().permute(0, 4, 1, 2, 3).clone().requires_grad_()  # (out, in, z, y, x)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("kernel", [3, (1, 3, 5), 1])
def test_submanifold_equals_dense_at_active_sites_with_gradients(dtype, tolerance, kernel):
    x, features, dense = sparse_and_dense(150, 4, dtype)
    layer = SubMConv3d(4, 6, kernel).to(dtype)
    out = layer(x)
    weight = dense_weight(layer)
    expected = cells_of(x, conv3d(dense, weight, padding=[k // 2 for k in layer.kernel_size]))
    torch.testing.assert_close(out.features, expected, atol=tolerance, rtol=tolerance)

    upstream = torch.randn_like(expected)
    out.features.backward(upstream)
    expected.backward(upstream)
    sparse_grad = SparseTensor.from_coords(features.grad, random_sites(150), SHAPE, 2)
    torch.testing.assert_close(sparse_grad.features, cells_of(x, dense.grad), atol=10 * tolerance, rtol=10 * tolerance)
    torch.testing.assert_close(
        layer.weight.grad.permute(0, 4, 1, 2, 3), weight.grad, atol=100 * tolerance, rtol=10 * tolerance
    )


@pytest.mark.parametrize("settings_", STRIDED)
def test_strided_equals_dense_everywhere_with_gradients(settings_):
    x, features, dense = sparse_and_dense(60, 4)
    layer = SparseConv3d(4, 3, **settings_).double()
    out = layer(x)
    weight = dense_weight(layer)
    expected = conv3d(dense, weight, stride=layer.stride, padding=layer.padding)
    torch.testing.assert_close(out.dense(), expected, atol=1e-12, rtol=1e-12)  # zero where no site is reached

    upstream = torch.randn_like(expected)
    out.dense().backward(upstream)
    expected.backward(upstream)
    sparse_grad = SparseTensor.from_coords(features.grad, random_sites(60), SHAPE, 2)
    torch.testing.assert_close(sparse_grad.features, cells_of(x, dense.grad), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(layer.weight.grad.permute(0, 4, 1, 2, 3), weight.grad, atol=1e-11, rtol=1e-11)


def test_strided_output_sites_are_exactly_those_an_input_reaches():
    coords = random_sites(25)
    x = SparseTensor.from_coords(torch.ones(25, 1), coords, SHAPE, 2)
    layer = SparseConv3d(1, 1, 3, 2, 1)
    torch.nn.init.ones_(layer.weight)
    out = layer(x)
    reached = conv3d(x.dense(), torch.ones(1, 1, 3, 3, 3), stride=2, padding=1)[:, 0].nonzero()
    assert torch.equal(out.sites.coords, reached)


@pytest.mark.parametrize("layer", [SubMConv3d(2, 3, 3, bias=True), SparseConv3d(2, 3, 3, 2, 1)])
def test_gradcheck(layer):
    layer = layer.double()
    coords = random_sites(12)
    features = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)

    def run(values, weight):
        x = SparseTensor.from_coords(values, coords, SHAPE, 2)
        parameters = {**dict(layer.named_parameters()), "weight": weight}
        return torch.func.functional_call(layer, parameters, (x,)).features

    assert torch.autograd.gradcheck(run, (features, layer.weight))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 200), batch_size=st.integers(1, 3), seed=st.integers(0, 1000))
def test_submanifold_rulebook_joins_exactly_the_neighbouring_sites(count, batch_size, seed):
    coords = random_sites(min(count, 315 * batch_size), batch_size, seed=seed)
    sites = SparseTensor.from_coords(torch.zeros(len(coords), 1), coords, SHAPE, batch_size).sites
    rulebook = submanifold_rulebook(sites, (3, 3, 3))
    taps = torch.arange(27).repeat_interleave(torch.tensor(rulebook.counts))
    found = {tuple(row) for row in torch.stack([rulebook.inputs, rulebook.outputs, taps], 1).tolist()}
    row_of = {tuple(cell): row for row, cell in enumerate(sites.coords.tolist())}
    expected = set()
    for (b, z, y, x), output in row_of.items():
        for tap in range(27):
            dz, dy, dx = tap // 9 - 1, tap // 3 % 3 - 1, tap % 3 - 1
            if tap != 13 and (b, z + dz, y + dy, x + dx) in row_of:
                expected.add((row_of[b, z + dz, y + dy, x + dx], output, tap))
    assert found == expected
    assert rulebook.identity == 13  # every site joins itself; those pairs are not listed
    assert len(rulebook.inputs) == len(expected)


def test_wide_kernel_does_not_reach_across_the_border():
    x = SparseTensor.from_coords(torch.ones(2, 1), torch.tensor([[0, 0, 0, 8], [0, 0, 1, 0]]), SHAPE, 1)
    layer = SubMConv3d(1, 1, (1, 1, 5))
    torch.nn.init.ones_(layer.weight)
    assert layer(x).features.flatten().tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="1, 3 or 5"):
        submanifold_rulebook(x.sites, (7, 1, 1))


def test_no_site_at_all():
    x = SparseTensor.from_coords(torch.zeros(0, 2), torch.zeros(0, 4, dtype=torch.long), SHAPE, 2)
    out = SparseConv3d(2, 3, 3, 2, 1)(SubMConv3d(2, 2, 3)(x))
    assert out.features.shape == (0, 3)
    assert out.dense().shape == (2, 3, 3, 4, 5)
    out.features.sum().backward()


def test_layers_of_one_resolution_share_a_rulebook():
    x, _, _ = sparse_and_dense(50, 2, torch.float32)
    first = SubMConv3d(2, 2, 3)(x)
    second = SubMConv3d(2, 2, 3)(first.replace_feature(first.features.relu()))
    assert second.submanifold((3, 3, 3)) is x.submanifold((3, 3, 3))


def test_frozen_layer_records_no_graph():
    x = SparseTensor.from_coords(torch.randn(20, 2), random_sites(20), SHAPE, 2)
    assert SubMConv3d(2, 2, 3).requires_grad_(False)(x).features.grad_fn is None


def test_layers_copy_and_pickle():
    layer = SubMConv3d(2, 3, 3)
    x = SparseTensor.from_coords(torch.randn(20, 2), random_sites(20), SHAPE, 2)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x).features, layer(x).features)


def test_kernel_larger_than_the_grid_is_an_error():
    x = SparseTensor.from_coords(torch.ones(1, 1), torch.tensor([[0, 0, 0, 0]]), (2, 9, 9), 1)
    with pytest.raises(ValueError, match="does not fit"):
        SparseConv3d(1, 1, 3, 2, 0)(x)


def test_batch_coords_prepends_the_sample():
    coords = batch_coords([torch.tensor([[1, 2, 3]]), torch.zeros(0, 3, dtype=torch.long), torch.tensor([[4, 5, 6]])])
    assert coords.tolist() == [[0, 1, 2, 3], [2, 4, 5, 6]]
