"""Features on the occupied cells of a voxel grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_core.models.voxel.rulebook import Rulebook, Sites, Triple, strided_rulebook, submanifold_rulebook


@dataclass(frozen=True)
class PairFinder:
    """Two functions that find the pairs of a convolution; `rulebook` has ours and says what they return."""

    submanifold: Callable[[Sites, Triple], Rulebook] = submanifold_rulebook
    strided: Callable[[Sites, Triple, Triple, Triple], tuple[Sites, Rulebook]] = strided_rulebook


class SparseTensor:
    """Features (V, C) on `Sites`; layers of one resolution share its sites and rulebooks.

    `features`, `replace_feature` and `dense` are named as in spconv's tensor, so that layers which touch features alone
    work on both.
    """

    def __init__(
        self,
        features: Tensor,
        sites: Sites,
        finder: PairFinder | None = None,
        rulebooks: dict[Triple, Rulebook] | None = None,
    ) -> None:
        self.features = features
        self.sites = sites
        self._finder = finder or PairFinder()
        self._submanifold = {} if rulebooks is None else rulebooks

    @classmethod
    def from_coords(
        cls, features: Tensor, coords: Tensor, shape: Triple, batch_size: int, finder: PairFinder | None = None
    ) -> SparseTensor:
        """Sort unordered sites.

        Args:
            features: (V, C).
            coords: (V, 4) integer b, z, y, x; unique and inside the grid.
            shape: grid size (Z, Y, X).
            batch_size: number of samples, including those without any voxel.
            finder: who finds the pairs of this tensor's convolutions.
        """
        keys = Sites(coords.long(), shape, batch_size).keys()
        order = keys.argsort()
        return cls(features[order], Sites(coords.long()[order], shape, batch_size), finder)

    def replace_feature(self, features: Tensor) -> SparseTensor:
        """The same sites with other features (V, C')."""
        return SparseTensor(features, self.sites, self._finder, self._submanifold)

    def moved(self, features: Tensor, sites: Sites) -> SparseTensor:
        """Features (V', C') on other sites."""
        return SparseTensor(features, sites, self._finder)

    def submanifold(self, kernel: Triple) -> Rulebook:
        """The rulebook of submanifold layers on these sites, built once."""
        if kernel not in self._submanifold:
            self._submanifold[kernel] = self._finder.submanifold(self.sites, kernel)
        return self._submanifold[kernel]

    def strided(self, kernel: Triple, stride: Triple, padding: Triple) -> tuple[Sites, Rulebook]:
        """Output sites and rulebook of an ordinary sparse convolution."""
        return self._finder.strided(self.sites, kernel, stride, padding)

    def dense(self) -> Tensor:
        """(B, C, Z, Y, X), zero where no site is."""
        sites = self.sites
        b, z, y, x = sites.coords.unbind(1)
        depth, height, width = sites.shape
        cells = ((b * depth + z) * height + y) * width + x
        flat = self.features.new_zeros(sites.batch_size * depth * height * width, self.features.shape[1])
        flat = flat.index_copy(0, cells, self.features)
        return flat.view(sites.batch_size, depth, height, width, -1).permute(0, 4, 1, 2, 3).contiguous()


def batch_coords(coords: list[Tensor]) -> Tensor:
    """B x (V_i, 3) z, y, x -> (V, 4) b, z, y, x."""
    return torch.cat([torch.nn.functional.pad(c, (1, 0), value=b) for b, c in enumerate(coords)])
