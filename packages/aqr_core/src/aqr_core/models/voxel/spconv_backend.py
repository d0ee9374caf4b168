"""Which code runs the sparse convolutions where, and the CUDA route: spconv 2.x kernels behind our own layers.

No test has run spconv on CUDA yet (those marked `gpu` wait for a device). What its source says and this file heeds:
indices must be contiguous int32; kernels exist for float32 and float16; a layer in evaluation mode records no graph,
so the mode follows autograd instead; a kernel of one cell reads its weight transposed; algorithms are chosen by timing
and sites are numbered by a hash filled in parallel, so runs differ in the last bits.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from aqr_core.errors import ConfigError
from aqr_core.extras import is_installed, spconv_problem
from aqr_core.models.voxel.rulebook import Sites, Triple
from aqr_core.models.voxel.sparse_tensor import PairFinder, SparseTensor
from aqr_core.models.voxel.spconv_pairs import strided_pairs, submanifold_pairs

if TYPE_CHECKING:
    from aqr_core.models.voxel.sparse_conv import SparseConvolution

BACKENDS = ("auto", "torch", "spconv")
_CUDA_TYPES = (torch.float32, torch.float16)

_log = logging.getLogger(__name__)


def choose_backend(requested: str, device_type: str, dtype: torch.dtype = torch.float32) -> str:
    """'torch' or 'spconv' for a device and the type of the weights; logs once per process which one runs and why.

    Raises:
        ConfigError: `requested` is unknown, or spconv is demanded where it is not installed or has no kernels.
    """
    return _choose(requested, device_type, dtype, torch.are_deterministic_algorithms_enabled())


@cache
def _choose(requested: str, device_type: str, dtype: torch.dtype, deterministic: bool) -> str:
    if requested not in BACKENDS:
        raise ConfigError(f"Unknown sparse backend '{requested}'; use one of {', '.join(BACKENDS)}.")
    installed = is_installed("spconv")
    problem = spconv_problem() if requested == "spconv" or device_type == "cuda" else None
    if requested == "spconv" and not installed:
        raise ConfigError("backend='spconv' needs spconv, which is not installed; install it or use backend='auto'.")
    if requested == "spconv" and problem is not None:
        raise ConfigError(f"backend='spconv' cannot be had: {problem}, or use backend='torch'.")
    if requested == "spconv" and device_type == "cuda" and dtype not in _CUDA_TYPES:
        raise ConfigError(f"spconv has no CUDA kernels for {dtype}; use weights in float32 or backend='auto'.")
    if requested != "auto":
        chosen, reason = requested, "the config asks for it"
    elif device_type != "cuda":
        chosen, reason = "torch", "its search for pairs is faster than spconv's, the arithmetic is one"
    elif not installed:
        chosen, reason = "torch", "spconv is not installed; `make setup SPCONV=spconv-cuda` gives faster kernels"
    elif problem is not None:
        chosen, reason = "torch", problem
    elif dtype not in _CUDA_TYPES:
        chosen, reason = "torch", f"spconv has no CUDA kernels for {dtype}"
    elif deterministic:
        chosen, reason = "torch", "deterministic algorithms are on, and spconv's CUDA kernels are not"
    else:
        chosen, reason = "spconv", "CUDA and spconv are present"
    level = logging.WARNING if reason == problem else logging.INFO
    _log.log(level, "Sparse convolutions on %s run on %s: %s.", device_type, chosen, reason)
    if chosen == "spconv" and device_type == "cuda" and deterministic:
        _log.warning("Deterministic algorithms are on, but spconv's CUDA kernels differ in the last bits between runs.")
    return chosen


def sparse_tensor(features: Tensor, coords: Tensor, shape: Triple, batch_size: int, backend: str) -> Any:  # noqa: ANN401
    """The tensor whose convolutions `backend` ('torch' or 'spconv') runs; arguments as of `SparseTensor.from_coords`.

    Returns:
        A `spconv.pytorch.SparseConvTensor` for spconv on CUDA (which refuses an empty one), otherwise a `SparseTensor`.
    """
    if backend == "spconv" and features.is_cuda and len(coords) > 0:
        import spconv.pytorch as spconv

        return spconv.SparseConvTensor(features, coords.to(torch.int32).contiguous(), list(shape), batch_size)
    finder = PairFinder(submanifold_pairs, strided_pairs) if backend == "spconv" and not features.is_cuda else None
    return SparseTensor.from_coords(features, coords, shape, batch_size, finder)


def dense(x: Any) -> Tensor:  # noqa: ANN401
    """(B, C, Z, Y, X) of a tensor of either kind; spconv's own method indexes by a list, which torch gives up."""
    if not isinstance(x, SparseTensor):
        depth, height, width = x.spatial_shape
        x = SparseTensor(x.features, Sites(x.indices.long(), (depth, height, width), x.batch_size))
    return x.dense()


def convolve(layer: SparseConvolution, x: Any) -> Any:  # noqa: ANN401
    """Run one of our layers on a `SparseConvTensor`, by spconv's kernels on the layer's own weight."""
    weight = layer.weight.contiguous()
    x = x.replace_feature(x.features.to(weight.dtype))
    if layer.kernel_size == layer.stride == (1, 1, 1) and (layer.submanifold or not any(layer.padding)):
        return x.replace_feature(linear(x.features, weight.flatten(1), layer.bias))
    geometry = _geometry(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.submanifold,
        layer.indice_key,
    )
    with torch.autocast(x.features.device.type, enabled=False), torch.cuda.device_of(x.features):
        return geometry._conv_forward(torch.is_grad_enabled(), x, weight, layer.bias)


@cache
def _geometry(
    in_channels: int,
    out_channels: int,
    kernel: Triple,
    stride: Triple,
    padding: Triple,
    submanifold: bool,
    indice_key: str | None,
) -> Any:  # noqa: ANN401
    """What spconv's layers know besides their weights: no parameters, no state, no draw from the random generator."""
    from spconv.pytorch.conv import SparseConvolutionBase

    return SparseConvolutionBase(
        3,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        subm=submanifold,
        indice_key=indice_key,
    )
