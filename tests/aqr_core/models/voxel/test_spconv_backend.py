"""Which code runs where and why, and the CUDA route as far as a CPU can tell."""

from __future__ import annotations

import logging

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.voxel import spconv_backend
from aqr_core.models.voxel.sparse_conv import SparseConv3d, SubMConv3d
from aqr_core.models.voxel.sparse_tensor import SparseTensor
from aqr_core.models.voxel.spconv_backend import choose_backend, dense, sparse_tensor

SHAPE = (5, 7, 9)


@pytest.fixture(autouse=True)
def forget_choices():
    spconv_backend._choose.cache_clear()
    yield
    spconv_backend._choose.cache_clear()


@pytest.fixture
def installed(monkeypatch):
    """spconv counts as installed and sound, whatever this machine has."""
    monkeypatch.setattr(spconv_backend, "is_installed", lambda package: True)
    monkeypatch.setattr(spconv_backend, "spconv_problem", lambda: None)


def cells(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(torch.unravel_index(torch.randperm(2 * 5 * 7 * 9, generator=generator)[:count], (2, *SHAPE)), 1)


def test_cpu_runs_on_torch_and_says_so_once(caplog):
    with caplog.at_level(logging.INFO, logger=spconv_backend.__name__):
        assert [choose_backend("auto", "cpu") for _ in range(3)] == ["torch"] * 3
    assert len(caplog.records) == 1
    assert "on cpu run on torch: its search for pairs is faster" in caplog.text


@pytest.mark.parametrize(
    ("dtype", "chosen", "reason"),
    [
        (torch.float32, "spconv", "CUDA and spconv are present"),
        (torch.float16, "spconv", "CUDA and spconv are present"),
        (torch.bfloat16, "torch", "no CUDA kernels for torch.bfloat16"),
        (torch.float64, "torch", "no CUDA kernels for torch.float64"),
    ],
)
def test_cuda_runs_on_spconv_where_it_has_kernels(installed, caplog, dtype, chosen, reason):
    with caplog.at_level(logging.INFO, logger=spconv_backend.__name__):
        assert choose_backend("auto", "cuda", dtype) == chosen
    assert reason in caplog.text


def test_cuda_without_spconv(monkeypatch, caplog):
    monkeypatch.setattr(spconv_backend, "is_installed", lambda package: False)
    with caplog.at_level(logging.INFO, logger=spconv_backend.__name__):
        assert choose_backend("auto", "cuda") == "torch"
    assert "spconv is not installed; `make setup SPCONV=spconv-cuda`" in caplog.text


def test_cuda_with_a_spconv_for_another_cuda(installed, monkeypatch, caplog):
    monkeypatch.setattr(spconv_backend, "spconv_problem", lambda: "it is built for CUDA 12.6; run `make setup`")
    with caplog.at_level(logging.WARNING, logger=spconv_backend.__name__):
        assert choose_backend("auto", "cuda") == "torch"
    assert "on cuda run on torch: it is built for CUDA 12.6; run `make setup`" in caplog.text
    with pytest.raises(ConfigError, match=r"backend='spconv' cannot be had: it is built for CUDA 12\.6"):
        choose_backend("spconv", "cuda")


def test_deterministic_runs_keep_off_spconv_on_cuda(installed, caplog):
    torch.use_deterministic_algorithms(True)
    try:
        assert choose_backend("auto", "cuda") == "torch"
        with caplog.at_level(logging.WARNING, logger=spconv_backend.__name__):
            assert choose_backend("spconv", "cuda") == "spconv"
        assert "differ in the last bits" in caplog.text
    finally:
        torch.use_deterministic_algorithms(False)
    assert choose_backend("auto", "cuda") == "spconv"


def test_refused_choices(monkeypatch, installed):
    with pytest.raises(ConfigError, match="minkowski.*auto"):
        choose_backend("minkowski", "cpu")
    with pytest.raises(ConfigError, match=r"no CUDA kernels for torch\.bfloat16; use weights in float32"):
        choose_backend("spconv", "cuda", torch.bfloat16)
    monkeypatch.setattr(spconv_backend, "is_installed", lambda package: False)
    with pytest.raises(ConfigError, match="not installed"):
        choose_backend("spconv", "cpu")


@pytest.mark.parametrize("factory", [SubMConv3d, SparseConv3d])
@pytest.mark.parametrize("kernel", [3, 1])
def test_layers_on_a_spconv_tensor_equal_ours_and_leave_no_trace(factory, kernel):
    """The code that CUDA takes; on a CPU spconv can do its forward on one thread."""
    spconv = pytest.importorskip("spconv.pytorch")
    stride = 2 if factory is SparseConv3d and kernel == 3 else 1
    layer = factory(3, 4, kernel, stride, kernel // 2, indice_key="first").requires_grad_(False)
    coords, features = cells(80), torch.randn(80, 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        random_state = torch.get_rng_state()
        theirs = dense(layer(spconv.SparseConvTensor(features, coords.int().contiguous(), list(SHAPE), 2)))
        assert torch.equal(torch.get_rng_state(), random_state)
    finally:
        torch.set_num_threads(threads)
    ours = layer(SparseTensor.from_coords(features, coords, SHAPE, 2)).dense()
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert list(layer.state_dict()) == ["weight"]
    assert not any("spconv" in name for name in vars(layer))


def test_empty_tensor_is_ours_whatever_the_backend():
    x = sparse_tensor(torch.zeros(0, 3), torch.zeros(0, 4, dtype=torch.long), SHAPE, 2, "spconv")
    assert isinstance(x, SparseTensor)
