"""Distributions of weights and attention, per group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_train.routing.groups import Grouping
from aqr_train.routing.queries import Queries

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 100


@dataclass(frozen=True)
class Distribution:
    """Of one weight.

    Attributes:
        mean: over the queries.
        std: of the population.
        quantiles: at `QUANTILES`, linear between samples.
        histogram: counts in `BINS` equal bins over the range of the weights; the upper end belongs to the last bin.
    """

    mean: float
    std: float
    quantiles: tuple[float, ...]
    histogram: tuple[int, ...]

    @classmethod
    def of(cls, values: NDArray[np.float32], bounds: tuple[float, float]) -> Distribution:
        """(n,) values, at least one, in `bounds`."""
        wide = values.astype(np.float64)
        # Rounding may leave a saturated weight just outside.
        counts, _ = np.histogram(wide.clip(*bounds), bins=BINS, range=bounds)
        return cls(
            float(wide.mean()),
            float(wide.std()),
            tuple(np.quantile(wide, QUANTILES).tolist()),
            tuple(counts.tolist()),
        )


@dataclass(frozen=True)
class GroupStatistics:
    """How one group of queries routes.

    Attributes:
        queries: how many; a group without any has no statistics and is left out.
        lidar: LiDAR weight.
        camera: camera weight.
        prefer_lidar: share with the larger LiDAR weight; ties count for neither side.
        prefer_camera: share with the larger camera weight.
        leaning: share with a LiDAR weight above `warnings.lidar_limit`.
        lidar_mass: mean share of the cross-attention on LiDAR tokens, per decoder layer; cameras hold the rest.
    """

    queries: int
    lidar: Distribution
    camera: Distribution
    prefer_lidar: float
    prefer_camera: float
    leaning: float
    lidar_mass: tuple[float, ...]


def describe(queries: Queries, bounds: tuple[float, float], limit: float) -> GroupStatistics | None:
    """Statistics of some queries, None of none.

    Args:
        queries: the group.
        bounds: range of the weights.
        limit: LiDAR weight above which a query leans on LiDAR.
    """
    if not len(queries):
        return None
    lidar, camera = queries.weights.T
    return GroupStatistics(
        len(queries),
        Distribution.of(lidar, bounds),
        Distribution.of(camera, bounds),
        float((lidar > camera).mean()),
        float((camera > lidar).mean()),
        float((lidar > limit).mean()),
        tuple(queries.lidar_mass.mean(axis=0, dtype=np.float64).tolist()),
    )


def describe_groups(
    queries: Queries, groupings: Sequence[Grouping], bounds: tuple[float, float], limit: float
) -> dict[str, dict[str, GroupStatistics]]:
    """Grouping -> group -> statistics; groups without queries are left out."""
    found: dict[str, dict[str, GroupStatistics]] = {}
    for grouping in groupings:
        parts = {
            name: describe(queries.select(grouping.member == index), bounds, limit)
            for index, name in enumerate(grouping.groups)
        }
        found[grouping.name] = {name: part for name, part in parts.items() if part is not None}
    return found
