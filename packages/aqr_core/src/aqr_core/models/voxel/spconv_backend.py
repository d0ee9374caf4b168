"""The CUDA route of the sparse encoder: spconv 2.x kernels behind our own layers.

Its tests hold spconv's CPU forward on one thread to our numbers for our weights; no test has run it on CUDA yet. Known
of spconv 2.3: weights are (out, kz, ky, kx, in) as ours; indices must be contiguous int32; an empty tensor is refused;
the CPU backward crashes and several CPU threads race.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aqr_core.errors import ConfigError

if TYPE_CHECKING:
    from aqr_core.models.voxel.sparse_conv import SparseConvolution

BACKENDS = ("auto", "torch", "spconv")

_log = logging.getLogger(__name__)


@cache
def choose_backend(requested: str, device_type: str) -> str:
    """'torch' or 'spconv' for a device; says once which one runs and why.

    Raises:
        ConfigError: `requested` is unknown, or spconv is demanded where it is not installed.
    """
    if requested not in BACKENDS:
        raise ConfigError(f"Unknown sparse backend '{requested}'; use one of {', '.join(BACKENDS)}.")
    installed = importlib.util.find_spec("spconv") is not None
    if requested == "spconv" and not installed:
        raise ConfigError("backend='spconv' needs spconv, which is not installed; install it or use backend='auto'.")
    if requested != "auto":
        chosen, reason = requested, "the config asks for it"
    elif device_type != "cuda":
        chosen, reason = "torch", "spconv's CPU kernels race and have no backward"
    elif not installed:
        chosen, reason = "torch", "spconv is not installed; `make setup SPCONV=spconv-cuda` gives faster kernels"
    else:
        chosen, reason = "spconv", "CUDA and spconv are present"
    _log.info("Sparse convolutions on %s run on %s: %s.", device_type, chosen, reason)
    return chosen


def sparse_tensor(features: Tensor, coords: Tensor, shape: tuple[int, int, int], batch_size: int) -> Any:  # noqa: ANN401
    """A `spconv.pytorch.SparseConvTensor`; arguments as of `SparseTensor.from_coords`."""
    import spconv.pytorch as spconv

    return spconv.SparseConvTensor(features, coords.to(torch.int32).contiguous(), list(shape), batch_size)


def convolve(layer: SparseConvolution, x: Any) -> Any:  # noqa: ANN401
    """Run one of our layers on a spconv tensor; the spconv twin shares the layer's parameters and is made once."""
    twin = layer.__dict__.get("_spconv_twin")
    if twin is None:
        twin = _make_twin(layer)
        layer.__dict__["_spconv_twin"] = twin  # not a submodule: the state dict stays ours
    twin.weight, twin.bias = layer.weight, layer.bias
    return twin.train(layer.training)(x)


def _make_twin(layer: SparseConvolution) -> torch.nn.Module:
    import spconv.pytorch as spconv

    factory = spconv.SubMConv3d if layer.submanifold else spconv.SparseConv3d
    return factory(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        bias=layer.bias is not None,
        indice_key=layer.indice_key,
    )
