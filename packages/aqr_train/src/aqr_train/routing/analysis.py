"""How a model routes over a split, with all sensors and with one failing; `weights.json` is this record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aqr_train.inference import Inference
from aqr_train.routing.collect import Pass, collect, routing_head
from aqr_train.routing.groups import Counted, group_queries, scene_conditions
from aqr_train.routing.statistics import BINS, QUANTILES, GroupStatistics, describe, describe_groups
from aqr_train.routing.warnings import lidar_limit, routing_warnings

FORMAT, VERSION = "aqr-routing", 1
WORKING, FAILED = "all sensors", {"camera": "no camera", "lidar": "no LiDAR"}


@dataclass(frozen=True)
class Variant:
    """What the weights of a model mean.

    Attributes:
        name: 'v1', 'v2' or 'v3'; v2 that keeps nothing of the original feature is v1.
        bounds: range of the weights.
        neutral: weight that changes nothing.
        scale: of the attention bias, and its maximum; None without one.
        max_scale: see `scale`.
    """

    name: str
    bounds: tuple[float, float]
    neutral: float
    scale: float | None = None
    max_scale: float | None = None

    @classmethod
    def of(cls, head: Any) -> Variant:  # noqa: ANN401 - a CmtHead with AQR
        """Read off a head."""
        low, neutral, high = head.aqr_weight_generator.weight_range
        bias = head.attention_bias_generator
        if bias is not None:
            return cls("v3", (low, high), neutral, bias.scale.item(), float(bias.max_scale))
        return cls("v1" if head.feature_modulator.share == 1 else "v2", (low, high), neutral)


@dataclass(frozen=True)
class Condition:
    """One run over the split.

    Attributes:
        keyframes: how many.
        annotated: annotated boxes with points in them.
        head_mass: per decoder layer, per head: mean share of the cross-attention on LiDAR tokens, all queries.
        counted: the queries that count, None if there are none.
        every: all queries, those that found nothing included.
        groups: grouping -> group -> queries that count; groups without queries are left out.
        at_clamp: 'bev' and 'image' -> share of map cells at their clamp (v1, v2).
    """

    keyframes: int
    annotated: int
    head_mass: tuple[tuple[float, ...], ...]
    counted: GroupStatistics | None
    every: GroupStatistics
    groups: dict[str, dict[str, GroupStatistics]]
    at_clamp: dict[str, float]


@dataclass(frozen=True)
class Analysis:
    """The whole of it.

    Attributes:
        checkpoint: as the user named it.
        infos: file of the split.
        variant: of the model.
        rule: which queries count, and of which class they are, in words.
        conditions: 'all sensors', 'no camera', 'no LiDAR' -> run.
        warnings: about the run with all sensors.
    """

    checkpoint: str
    infos: str
    variant: Variant
    rule: str
    conditions: dict[str, Condition]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Strict JSON: `format`, `version`, the attributes by name at every level, and how to read distributions.

        `quantile_levels` are the levels of every `quantiles`, `histogram_edges` the borders of every `histogram`. A
        run in which no query counts has null for `counted` and empty groups.
        """
        edges = np.linspace(*self.variant.bounds, BINS + 1).round(6).tolist()
        head = {"format": FORMAT, "version": VERSION, "quantile_levels": QUANTILES, "histogram_edges": edges}
        return json.dumps(head | asdict(self), allow_nan=False) + "\n"


def analyze(
    inference: Inference,
    checkpoint: str,
    indices: list[int],
    counted: Counted,
    failures: Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> Analysis:
    """Run the split once with all sensors and once per failure.

    Args:
        inference: model and split.
        checkpoint: its name.
        indices: keyframes of the split.
        counted: which queries count.
        failures: of `blanking.SENSORS`.
        progress: told the condition, keyframes done and all.

    Raises:
        ConfigError: see `collect` and `without_sensor`.
    """
    variant = Variant.of(routing_head(inference.model))
    # Opened before the first run: what is wrong with them is known now, not after hours.
    runs = {WORKING: inference} | {FAILED[sensor]: inference.failing(sensor) for sensor in failures}
    conditions = {}
    for name, run in runs.items():
        tell = None if progress is None else lambda done, total, name=name: progress(name, done, total)
        conditions[name] = _summarise(run, indices, counted, variant, collect(run, indices, tell))
    return Analysis(
        checkpoint,
        str(inference.dataset.infos.path),
        variant,
        counted.sentence,
        conditions,
        tuple(_warn(variant, conditions[WORKING])),
    )


def _summarise(run: Inference, indices: list[int], counted: Counted, variant: Variant, made: Pass) -> Condition:
    limit = lidar_limit(variant.neutral)
    chosen = made.queries.select(counted.rows(made.queries))
    light, weather = scene_conditions(run.dataset, indices)
    groupings = group_queries(chosen, counted, run.dataset.classes, light, weather)
    every = describe(made.queries, variant.bounds, limit)
    assert every is not None
    return Condition(
        made.keyframes,
        made.annotated,
        tuple(tuple(layer) for layer in made.head_mass.tolist()),
        describe(chosen, variant.bounds, limit),
        every,
        describe_groups(chosen, groupings, variant.bounds, limit),
        made.at_clamp,
    )


def _warn(variant: Variant, working: Condition) -> list[str]:
    return routing_warnings(
        scale=variant.scale,
        max_scale=variant.max_scale,
        leaning={name: group.leaning for name, group in working.groups["class"].items()},
        neutral=variant.neutral,
        at_clamp=working.at_clamp,
    )
