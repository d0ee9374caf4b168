"""Which kernels run where, and that spconv's agree with ours as far as a CPU can tell."""

from __future__ import annotations

import importlib.util
import logging

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.voxel import spconv_backend
from aqr_core.models.voxel.sparse_conv import SparseConv3d, SubMConv3d
from aqr_core.models.voxel.sparse_tensor import SparseTensor

needs_spconv = pytest.mark.skipif(importlib.util.find_spec("spconv") is None, reason="spconv is not installed")


def test_cpu_runs_on_torch_and_says_so_once(caplog):
    spconv_backend.choose_backend.cache_clear()
    with caplog.at_level(logging.INFO, logger=spconv_backend.__name__):
        assert [spconv_backend.choose_backend("auto", "cpu") for _ in range(3)] == ["torch"] * 3
    assert len(caplog.records) == 1
    assert "no backward" in caplog.text


def test_unknown_backend():
    with pytest.raises(ConfigError, match="minkowski.*auto"):
        spconv_backend.choose_backend("minkowski", "cpu")


@needs_spconv
@pytest.mark.parametrize("factory", [SubMConv3d, SparseConv3d])
def test_spconv_forward_equals_ours_on_one_thread(factory):
    layer = factory(3, 4, 3, 1 if factory is SubMConv3d else 2, 1, indice_key="first").requires_grad_(False)
    cells = torch.randperm(2 * 5 * 7 * 9)[:80]
    coords = torch.stack(torch.unravel_index(cells, (2, 5, 7, 9)), dim=1)
    features = torch.randn(80, 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        theirs = layer(spconv_backend.sparse_tensor(features, coords, (5, 7, 9), 2)).dense()
    finally:
        torch.set_num_threads(threads)
    ours = layer(SparseTensor.from_coords(features, coords, (5, 7, 9), 2)).dense()
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert list(layer.state_dict()) == ["weight"]


@needs_spconv
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_spconv_equals_torch_on_cuda():
    layer = SubMConv3d(8, 8, 3, padding=1, indice_key="first").cuda()
    cells = torch.randperm(2 * 5 * 7 * 9)[:200]
    coords = torch.stack(torch.unravel_index(cells, (2, 5, 7, 9)), dim=1).cuda()
    features = torch.randn(200, 8).cuda()
    gradients = []
    for make in (spconv_backend.sparse_tensor, SparseTensor.from_coords):
        layer.zero_grad()
        layer(make(features, coords, (5, 7, 9), 2)).dense().square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients, atol=1e-2, rtol=1e-2)
