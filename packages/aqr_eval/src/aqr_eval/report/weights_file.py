"""`weights.json` of `aqr analyze-weights`: how the queries of an AQR model weigh LiDAR and cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_eval.nuscenes.errors import DataError

_FORMAT, _VERSION = "aqr-routing", 1


@dataclass(frozen=True, slots=True)
class Weight:
    """One sensor's weight in a group of queries: mean and middle nine tenths."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class QueryGroup:
    """A group of queries; `lidar_mass` is the mean share of the cross-attention on LiDAR tokens per decoder layer."""

    queries: int
    lidar: Weight
    camera: Weight
    prefer_lidar: float
    lidar_mass: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class WeightAnalysis:
    """What a model weighs.

    Attributes:
        variant: 'v1', 'v2' or 'v3'.
        bounds: range of the weights.
        rule: which queries count, in words.
        conditions: 'all sensors', 'no camera', 'no LiDAR' -> the queries that count, None where there are none.
        groups: grouping ('class', 'distance', ...) -> group -> its queries, with all sensors.
        warnings: sentences.
    """

    variant: str
    bounds: tuple[float, float]
    rule: str
    conditions: Mapping[str, QueryGroup | None]
    groups: Mapping[str, Mapping[str, QueryGroup]]
    warnings: tuple[str, ...]


def read_weights(path: Path) -> WeightAnalysis:
    """Read the file.

    Raises:
        DataError: it is missing, or not of this format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["format"], content["version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"format {content['format']!r}, version {content['version']!r}")
        levels = content["quantile_levels"]
        tails = levels.index(0.05), levels.index(0.95)
        conditions = content["conditions"]
        working = next(iter(conditions.values()))
        return WeightAnalysis(
            variant=content["variant"]["name"],
            bounds=tuple(content["variant"]["bounds"]),
            rule=content["rule"],
            conditions={name: one["counted"] and _group(one["counted"], tails) for name, one in conditions.items()},
            groups={
                grouping: {name: _group(one, tails) for name, one in groups.items()}
                for grouping, groups in working["groups"].items()
            },
            warnings=tuple(content["warnings"]),
        )
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): correct the path behind --weights.") from error
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{path} is no weights.json ({cause}): write it with `aqr analyze-weights`.") from error


def _group(content: Mapping[str, Any], tails: tuple[int, int]) -> QueryGroup:
    lidar, camera = (
        Weight(one["mean"], *(one["quantiles"][level] for level in tails))
        for one in (content["lidar"], content["camera"])
    )
    return QueryGroup(content["queries"], lidar, camera, content["prefer_lidar"], tuple(content["lidar_mass"]))
