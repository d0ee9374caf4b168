"""Both backends against dense `conv3d` and each other: values, gradients, and the same bits on two threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv3d

from aqr_core.errors import ConfigError
from aqr_core.models.voxel import SparseEncoder
from aqr_core.models.voxel.rulebook import Sites, strided_rulebook, submanifold_rulebook
from aqr_core.models.voxel.sparse_conv import SparseConv3d, SubMConv3d
from aqr_core.models.voxel.spconv_backend import dense, sparse_tensor
from aqr_core.models.voxel.spconv_pairs import strided_pairs, submanifold_pairs

BACKENDS = ["torch", "spconv"]
LAYERS = [
    (SubMConv3d, dict(kernel_size=3, padding=1)),
    (SparseConv3d, dict(kernel_size=3, stride=2, padding=1)),
    (SparseConv3d, dict(kernel_size=3, stride=2, padding=(0, 1, 1))),
    (SparseConv3d, dict(kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=0)),
]
OFFICIAL_CHANNELS = dict(
    encoder_channels=((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
    encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
)
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def need(backend: str) -> None:
    if backend == "spconv":
        pytest.importorskip("spconv.pytorch")


def random_coords(count: int, shape, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    cells = torch.randperm(batch_size * shape[0] * shape[1] * shape[2], generator=generator)[:count]
    return torch.stack(torch.unravel_index(cells, (batch_size, *shape)), dim=1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("factory", "geometry"), LAYERS)
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 120),
    batch_size=st.integers(1, 3),
    shape=st.tuples(st.integers(3, 6), st.integers(3, 7), st.integers(3, 8)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 1000),
)
def test_equal_dense(backend, factory, geometry, dtype, tolerance, device, count, batch_size, shape, channels, seed):
    need(backend)
    if backend == "spconv" and device == "cuda" and dtype == torch.float64:
        pytest.skip("spconv has no CUDA kernels for float64")
    generator = torch.Generator().manual_seed(seed)
    coords = random_coords(count, shape, batch_size, generator).to(device)
    features = torch.randn(len(coords), channels[0], generator=generator).to(device, dtype).requires_grad_()
    layer = factory(*channels, **geometry).to(device, dtype)
    out = dense(layer(sparse_tensor(features, coords, shape, batch_size, backend)))

    b, z, y, x = coords.unbind(1)
    volume = torch.zeros(batch_size, *shape, channels[0], dtype=dtype, device=device).index_put((b, z, y, x), features)
    weight = layer.weight.detach().clone().requires_grad_()
    expected = conv3d(
        volume.permute(0, 4, 1, 2, 3), weight.permute(0, 4, 1, 2, 3), stride=layer.stride, padding=layer.padding
    )
    if layer.submanifold:
        occupied = torch.zeros_like(volume[..., 0]).index_put((b, z, y, x), torch.ones_like(features[:, 0]))
        assert out.detach().permute(0, 2, 3, 4, 1)[occupied == 0].abs().sum() == 0  # exactly zero beside the sites
        expected = expected * occupied[:, None]
    torch.testing.assert_close(out, expected, atol=tolerance, rtol=tolerance)

    upstream = torch.randn(out.shape, generator=generator).to(device, dtype)
    actual = torch.autograd.grad(out, (features, layer.weight), upstream)
    wanted = torch.autograd.grad(expected, (features, weight), upstream)
    torch.testing.assert_close(actual, wanted, atol=20 * tolerance, rtol=20 * tolerance)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 150), batch_size=st.integers(1, 3), seed=st.integers(0, 1000))
@pytest.mark.parametrize("geometry", [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_spconv_finds_the_same_pairs_and_sites(geometry, count, batch_size, seed):
    pytest.importorskip("spconv.pytorch")
    shape = (5, 7, 9)
    coords = random_coords(count, shape, batch_size, torch.Generator().manual_seed(seed))
    sites = Sites(coords[Sites(coords, shape, batch_size).keys().argsort()], shape, batch_size)
    ours, theirs = submanifold_rulebook(sites, (3, 3, 3)), submanifold_pairs(sites, (3, 3, 3))
    assert ours.counts == theirs.counts
    assert torch.equal(ours.inputs, theirs.inputs)
    assert torch.equal(ours.outputs, theirs.outputs)
    arguments = [(value,) * 3 for value in geometry]
    (our_sites, ours), (their_sites, theirs) = strided_rulebook(sites, *arguments), strided_pairs(sites, *arguments)
    assert ours.counts == theirs.counts
    assert torch.equal(our_sites.coords, their_sites.coords)
    assert torch.equal(ours.inputs, theirs.inputs)
    assert torch.equal(ours.outputs, theirs.outputs)


def test_batch_that_spconv_cannot_number_is_refused():
    pytest.importorskip("spconv.pytorch")
    far = Sites(torch.tensor([[0, 0, 0, 0], [99, 37, 0, 1]]), (41, 1024, 1024), 100)  # cells 0 and 2**32 + 1
    with pytest.raises(ConfigError, match=r"100 grids of \(41, 1024, 1024\) cells.*backend='torch'"):
        submanifold_pairs(far, (3, 3, 3))
    assert len(submanifold_rulebook(far, (3, 3, 3)).inputs) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factory", [SubMConv3d, SparseConv3d])
def test_a_layer_ignores_autocast_in_both_directions(factory, backend, device, dtype):
    need(backend)
    generator = torch.Generator().manual_seed(0)
    coords = random_coords(100, (5, 7, 9), 2, generator).to(device)
    features = torch.randn(100, 4, generator=generator).to(device)
    layer = factory(4, 4, 3, padding=1).to(device)

    def run() -> list[torch.Tensor]:
        layer.zero_grad()
        out = dense(layer(sparse_tensor(features, coords, (5, 7, 9), 2, backend)))
        out.square().sum().backward()
        return [out.detach(), layer.weight.grad.clone()]

    plain = run()
    with torch.autocast(device, dtype):
        cast = run()
    assert cast[0].dtype == torch.float32
    torch.testing.assert_close(cast, plain, **({"atol": 0, "rtol": 0} if device == "cpu" else {}))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("training", [True, False])
def test_encoders_agree_in_output_and_every_gradient(device, training):
    """On a CPU to the bit; evaluation mode has gradients too, which spconv's own layers would drop."""
    pytest.importorskip("spconv.pytorch")
    shape, generator = (41, 32, 40), torch.Generator().manual_seed(0)
    coords = random_coords(700, shape, 2, generator).to(device)
    features = torch.randn(len(coords), 5, generator=generator).to(device)
    models = []
    for backend in BACKENDS:
        torch.manual_seed(1)
        model = SparseEncoder(5, shape, backend=backend, **OFFICIAL_CHANNELS).to(device).train(training)
        out = model(features, coords, 3)  # the last sample is empty
        out.square().sum().backward()
        models.append((out.detach(), [parameter.grad for parameter in model.parameters()]))
    (ours, our_grads), (theirs, their_grads) = models
    assert ours[2].abs().sum() == 0
    assert all(grad is not None for grad in their_grads)
    if device == "cpu":
        assert torch.equal(ours, theirs)
        assert all(map(torch.equal, our_grads, their_grads))
    else:
        torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(their_grads, our_grads, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [0, 1])
def test_training_with_one_voxel_or_none(backend, count):
    need(backend)
    model = SparseEncoder(5, (41, 16, 16), backend=backend, **OFFICIAL_CHANNELS)
    out = model(torch.ones(count, 5), torch.tensor([[0, 20, 5, 5]])[:count], 2)
    out.sum().backward()
    assert out.shape == (2, 256, 2, 2)
    assert torch.isfinite(out).all()


REPEATS = """
import torch
from aqr_core.models.voxel.sparse_conv import SparseConv3d, SubMConv3d
from aqr_core.models.voxel.spconv_backend import sparse_tensor

assert torch.get_num_threads() == 2
generator = torch.Generator().manual_seed(0)
cells = torch.randperm(16 * 64 * 64, generator=generator)[:20000]
coords = torch.nn.functional.pad(torch.stack(torch.unravel_index(cells, (16, 64, 64)), 1), (1, 0))
for backend in {backends}:
    for layer in (SubMConv3d(16, 16, 3, indice_key="first").double(), SparseConv3d(16, 16, 3, 2, 1).double()):
        features = torch.randn(20000, 16, dtype=torch.float64, generator=generator).requires_grad_()
        first = None
        for _ in range(6):
            out = layer(sparse_tensor(features, coords, (16, 64, 64), 1, backend)).features
            bits = [out.detach(), *torch.autograd.grad(out, (features, layer.weight), out.detach())]
            first = first or bits
            assert all(map(torch.equal, bits, first)), backend
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads_repeat_bit_for_bit(backend):
    """Here spconv's own layers differ in nearly every repeat; one comparison with conv3d in float32 hides that."""
    need(backend)
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}  # torch takes the smaller of the two
    code = REPEATS.format(backends=[backend])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
