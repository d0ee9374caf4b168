"""Rulebooks by spconv 2.x on a CPU: its index pairs, without the rest of it.

Of spconv's CPU code the search for pairs is sound and single-threaded. Its scatter races between threads, its backward
calls CUDA and it refuses empty tensors, so the arithmetic stays ours. The two functions return what those of `rulebook`
return, output sites in the same order: whoever finds the pairs, a network computes the same bits.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.models.voxel.rulebook import Rulebook, Sites, Triple, strided_rulebook, submanifold_rulebook

# spconv's CPU hash keeps 32 bits of a cell's number; beyond, far cells would be taken for neighbours.
_MAX_CELLS = 2**31


def submanifold_pairs(sites: Sites, kernel: Triple) -> Rulebook:
    """As `rulebook.submanifold_rulebook`. Raises `ConfigError` for a batch of more than 2**31 cells."""
    if len(sites) == 0:
        return submanifold_rulebook(sites, kernel)
    _, pairs, counts = _native_pairs(sites, sites.shape, kernel, (1, 1, 1), (0, 0, 0), submanifold=True)
    centre = len(counts) // 2
    first_half = counts[:centre]
    counts = (*first_half, 0, *reversed(first_half))  # spconv fills both halves and counts one
    inputs, outputs = _by_tap(pairs, counts)
    return Rulebook(inputs, outputs, counts, len(sites), len(sites), identity=centre)


def strided_pairs(sites: Sites, kernel: Triple, stride: Triple, padding: Triple) -> tuple[Sites, Rulebook]:
    """As `rulebook.strided_rulebook`. Raises `ConfigError` for a batch of more than 2**31 cells."""
    if len(sites) == 0:
        return strided_rulebook(sites, kernel, stride, padding)
    shape = sites.strided_shape(kernel, stride, padding)
    coords, pairs, counts = _native_pairs(sites, shape, kernel, stride, padding, submanifold=False)
    order = Sites(coords.long(), shape, sites.batch_size).keys().argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    inputs, outputs = _by_tap(pairs, counts)
    output_sites = Sites(coords[order].long(), shape, sites.batch_size)
    return output_sites, Rulebook(inputs, rank[outputs], counts, len(sites), len(order))


def _native_pairs(
    sites: Sites, out_shape: Triple, kernel: Triple, stride: Triple, padding: Triple, *, submanifold: bool
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Output cells (V', 4), pairs (2, K, V) of which the first `counts[k]` of tap k are filled, all int32."""
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    if sites.batch_size * max(prod(sites.shape), prod(out_shape)) >= _MAX_CELLS:
        raise ConfigError(
            f"A batch of {sites.batch_size} grids of {sites.shape} cells is beyond the 2**31 cells that spconv can "
            "number on a CPU; use a smaller batch or backend='torch'."
        )
    coords, pairs, counts = ops.get_indice_pairs(
        sites.coords.int().contiguous(),  # spconv reads the memory as if it were contiguous and of 32 bits
        sites.batch_size,
        list(sites.shape),
        ConvAlgo.Native,
        list(kernel),
        list(stride),
        list(padding),
        [1, 1, 1],
        [0, 0, 0],
        submanifold,
    )
    return coords, pairs, tuple(counts.tolist())


def _by_tap(pairs: Tensor, counts: tuple[int, ...]) -> Tensor:
    """(2, K, V) padded, of which `counts[k]` of tap k are filled -> (2, pairs) int64."""
    return torch.cat([pairs[:, k, :count] for k, count in enumerate(counts)], dim=1).long()
