"""Sparse 3-D convolutions in plain PyTorch, with weights in the layout of spconv 2.x.

A layer gathers, multiplies and adds one kernel tap at a time: only pairs of occupied cells are multiplied. What it
gathers and multiplies at once fits into a core's cache and is never so large that its memory goes back to the operating
system, whose page faults cost more than the arithmetic (docs/benchmarks/sparse_encoder.md). It is deterministic, which
spconv's own CPU kernels are not; on CUDA the layers hand the work to spconv where it is installed (`spconv_backend`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aqr_core.models.voxel import spconv_backend
from aqr_core.models.voxel.rulebook import Rulebook, Triple
from aqr_core.models.voxel.sparse_tensor import SparseTensor

_CACHED = 1 << 19  # numbers that a block gathers and multiplies on a CPU: 2 MiB in float32


class _SparseConvFunction(torch.autograd.Function):
    """out[o] = sum over pairs (i, o) of tap k: features[i] @ taps[k], in the type of both, whatever autocast says."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, taps: Tensor, rulebook: Rulebook) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(features, taps)
        ctx.rulebook = rulebook
        with torch.autocast(features.device.type, enabled=False):
            if rulebook.identity is None:
                out = features.new_zeros(rulebook.num_outputs, taps.shape[2])
            else:
                out = features @ taps[rulebook.identity]
            for k, inputs, outputs in _blocks(taps, rulebook):
                out.index_add_(0, outputs, features.index_select(0, inputs) @ taps[k])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        features, taps = ctx.saved_tensors
        rulebook, identity = ctx.rulebook, ctx.rulebook.identity
        grad_features = grad_taps = None
        with torch.autocast(features.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                grad_features = torch.zeros_like(features) if identity is None else grad @ taps[identity].t()
            if ctx.needs_input_grad[1]:
                grad_taps = torch.zeros_like(taps)
                if identity is not None:
                    torch.mm(features.t(), grad, out=grad_taps[identity])
            for k, inputs, outputs in _blocks(taps, rulebook):
                grad_rows = grad.index_select(0, outputs)
                if grad_features is not None:
                    grad_features.index_add_(0, inputs, grad_rows @ taps[k].t())
                if grad_taps is not None:
                    grad_taps[k].addmm_(features.index_select(0, inputs).t(), grad_rows)
        return grad_features, grad_taps, None


def _blocks(taps: Tensor, rulebook: Rulebook) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(tap, input rows, output rows), cut so that on a CPU the numbers of a block stay in cache."""
    rows = max(1, _CACHED // sum(taps.shape[1:])) if taps.device.type == "cpu" else max(1, len(rulebook.inputs))
    pairs = zip(rulebook.inputs.split(rulebook.counts), rulebook.outputs.split(rulebook.counts), strict=True)
    for k, (inputs, outputs) in enumerate(pairs):
        for block in zip(inputs.split(rows), outputs.split(rows), strict=True):
            yield k, *block


class SparseConvolution(nn.Module):
    """What submanifold and strided convolutions share: weight, optional bias, and the choice of kernels.

    Attributes:
        weight: (C_out, kz, ky, kx, C_in), cross-correlation taps as in `nn.Conv3d`.
    """

    submanifold: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        bias: bool = False,
        indice_key: str | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _triple(kernel_size)
        self.stride = _triple(stride)
        self.padding = _triple(padding)
        self.indice_key = indice_key  # spconv shares index pairs by this name; our own tensors share them by site
        self.weight = nn.Parameter(torch.empty(out_channels, *self.kernel_size, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        bound = 1 / math.sqrt(in_channels * math.prod(self.kernel_size))  # nn.Conv3d's default
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Features (V, C_in) -> (V', C_out), on the same sites or the strided ones."""
        if not isinstance(x, SparseTensor):
            return spconv_backend.convolve(self, x)
        if self.submanifold:
            sites, rulebook = x.sites, x.submanifold(self.kernel_size)
        else:
            sites, rulebook = x.strided(self.kernel_size, self.stride, self.padding)
        taps = self.weight.flatten(1, 3).permute(1, 2, 0)  # (K, C_in, C_out)
        features = _SparseConvFunction.apply(x.features.to(taps.dtype), taps, rulebook)
        if self.bias is not None:
            features = features + self.bias
        return x.replace_feature(features) if self.submanifold else x.moved(features, sites)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )


class SubMConv3d(SparseConvolution):
    """Convolution that keeps the set of occupied cells; stride 1, padding implied by the kernel."""

    submanifold = True


class SparseConv3d(SparseConvolution):
    """Ordinary convolution; every cell that an occupied cell reaches becomes occupied."""

    submanifold = False


def _triple(value: int | Sequence[int]) -> Triple:
    z, y, x = (value,) * 3 if isinstance(value, int) else value
    return z, y, x
