"""Which input site feeds which output site through which kernel tap: the geometry of a sparse convolution.

A site is an occupied cell (b, z, y, x). It is named by one integer key whose order is the lexicographic order of the
cell, on a grid with one empty border cell per side, so that a neighbour outside the grid never aliases an inside one.
Sites are kept sorted by key; then neighbours are found by binary search, and neighbours along x by looking one row
further, which on 20 k sites is three times faster than searching every tap and needs no dense lookup table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Rulebook:
    """Pairs of rows that a kernel tap joins, tap by tap (taps in z, y, x order, x fastest).

    Within a tap every input row and every output row occurs at most once, so adding products tap by tap never adds
    twice to the same row at once: the result does not depend on threads.

    Attributes:
        inputs: (pairs,) int64 input rows.
        outputs: (pairs,) int64 output rows.
        counts: pairs of each tap.
        num_inputs: number of input sites.
        num_outputs: number of output sites.
        identity: the tap that joins every row with itself, whose pairs are not listed; None where there is none.
    """

    inputs: Tensor
    outputs: Tensor
    counts: tuple[int, ...]
    num_inputs: int
    num_outputs: int
    identity: int | None = None


@dataclass(frozen=True)
class Sites:
    """Occupied cells of B grids.

    Attributes:
        coords: (V, 4) int64 b, z, y, x, unique and in lexicographic order.
        shape: grid size (Z, Y, X) in cells.
        batch_size: B; samples without any site are allowed.
    """

    coords: Tensor
    shape: Triple
    batch_size: int

    def __len__(self) -> int:
        return len(self.coords)

    def keys(self) -> Tensor:
        """(V,) int64, ascending; the border cells are counted in."""
        b, z, y, x = self.coords.unbind(1)
        depth, height, width = (size + 2 for size in self.shape)
        return ((b * depth + z + 1) * height + y + 1) * width + x + 1

    def strided_shape(self, kernel: Triple, stride: Triple, padding: Triple) -> Triple:
        """The grid of a convolution's output."""
        geometry = zip(self.shape, kernel, stride, padding, strict=True)
        depth, height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in geometry)
        if min(depth, height, width) < 1:
            raise ValueError(f"Kernel {kernel} with padding {padding} does not fit into a grid of {self.shape} cells.")
        return depth, height, width


def submanifold_rulebook(sites: Sites, kernel: Triple) -> Rulebook:
    """Pairs of a convolution whose outputs are its own inputs: out[v] sums w[k] * in[v + k - kernel // 2].

    Only the first half of the taps is searched: tap K-1-k joins the same pairs as tap k, the other way round.
    """
    if not {*kernel} <= {1, 3, 5}:
        raise ValueError(f"A submanifold kernel needs sizes 1, 3 or 5, got {kernel}.")  # 7 would cross the border cells
    keys = sites.keys()
    nobody = keys.new_empty(0)
    padded_height, padded_width = sites.shape[1] + 2, sites.shape[2] + 2
    centre = prod(kernel) // 2
    first_half: list[tuple[Tensor, Tensor]] = []
    for dz, dy in product(*(range(-(size // 2), size // 2 + 1) for size in kernel[:2])):
        if len(first_half) >= centre:
            break
        wanted = keys + (dz * padded_height + dy) * padded_width - kernel[2] // 2
        position = torch.searchsorted(keys, wanted)
        for _ in range(min(kernel[2], centre - len(first_half))):
            found = keys.take(position.clamp(max=len(keys) - 1)) == wanted if len(keys) else wanted.bool()
            outputs = found.nonzero().squeeze(1)
            first_half.append((position[outputs], outputs))
            position, wanted = position + found, wanted + 1
    second_half = [(outputs, inputs) for inputs, outputs in reversed(first_half)]
    taps = [*first_half, (nobody, nobody), *second_half]
    return Rulebook(
        inputs=torch.cat([inputs for inputs, _ in taps]),
        outputs=torch.cat([outputs for _, outputs in taps]),
        counts=tuple(len(inputs) for inputs, _ in taps),
        num_inputs=len(sites),
        num_outputs=len(sites),
        identity=centre,
    )


def strided_rulebook(sites: Sites, kernel: Triple, stride: Triple, padding: Triple) -> tuple[Sites, Rulebook]:
    """Pairs and output sites of an ordinary convolution: a cell is an output if any input reaches it.

    out[v] sums w[k] * in[v * stride - padding + k], so input u feeds v = (u + padding - k) / stride where that is whole
    and inside the output grid.
    """
    shape = sites.strided_shape(kernel, stride, padding)
    reached, parts = [], []  # per axis: (taps, V) whether tap k of input u meets an output, and that output's key part
    scale = prod(shape)
    for axis in range(3):
        taps = torch.arange(kernel[axis], device=sites.coords.device)
        numerator = sites.coords[:, axis + 1] + padding[axis] - taps[:, None]
        cell = numerator.div(stride[axis], rounding_mode="floor")
        reached.append((cell * stride[axis] == numerator) & (cell >= 0) & (cell < shape[axis]))
        scale //= shape[axis]
        parts.append(cell * scale)
    sample = sites.coords[:, 0] * prod(shape)
    inputs, cells = [], []
    for kz, ky in product(*map(range, kernel[:2])):
        row_reached, row_cells = reached[0][kz] & reached[1][ky], sample + parts[0][kz] + parts[1][ky]
        for kx in range(kernel[2]):
            rows = (row_reached & reached[2][kx]).nonzero().squeeze(1)
            inputs.append(rows)
            cells.append(row_cells[rows] + parts[2][kx][rows])
    output_cells, outputs = torch.unique(torch.cat(cells), return_inverse=True)
    rulebook = Rulebook(
        inputs=torch.cat(inputs),
        outputs=outputs,
        counts=tuple(len(rows) for rows in inputs),
        num_inputs=len(sites),
        num_outputs=len(output_cells),
    )
    coords = torch.stack(torch.unravel_index(output_cells, (sites.batch_size, *shape)), dim=1)
    return Sites(coords, shape, sites.batch_size), rulebook
