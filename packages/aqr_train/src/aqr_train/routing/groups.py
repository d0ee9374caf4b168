"""Who belongs where: class, distance, cameras that see it, light and weather of every query."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_core.errors import ConfigError
from aqr_eval.nuscenes.table_stream import stream_table
from aqr_train.routing.queries import Queries

COUNTED = {
    "matched": "queries that the matcher of training pairs with an annotated box, centres within 2 m; class of the box",
    "confident": "queries with a score of at least {score:g}; their best class",
    "all": "all queries; their best class",
}
DISTANCES_M = (0, 10, 20, 30, 40, 50)
LIGHTS = ("day", "night", "unknown")
WEATHERS = ("dry", "rain", "unknown")
_RECORDED = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d")  # nuScenes' logs: n015-2018-07-18-11-07-57+0800


@dataclass(frozen=True)
class Grouping:
    """One way to sort queries.

    Attributes:
        name: 'class', 'distance', 'cameras', 'light' or 'weather'.
        groups: names of the groups.
        member: (n,) index of the group of each query, -1 for none.
    """

    name: str
    groups: tuple[str, ...]
    member: NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """The queries that speak for objects.

    Attributes:
        rule: a key of `COUNTED`.
        score: least score of 'confident'.
    """

    rule: str
    score: float

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return COUNTED[self.rule].format(score=self.score)

    def rows(self, queries: Queries) -> NDArray[np.bool_]:
        """(n,) which queries count."""
        if self.rule == "matched":
            return np.asarray(queries.truth >= 0)
        if self.rule == "confident":
            return np.asarray(queries.score >= self.score)
        return np.ones(len(queries), bool)

    def classes(self, queries: Queries) -> NDArray[np.int64]:
        """(n,) class of queries that count."""
        return np.asarray(queries.truth if self.rule == "matched" else queries.label, np.int64)


def choose_counted(rule: str | None, score: float, *, annotated: bool) -> Counted:
    """The rule that was asked for; by default matched queries where the split is annotated, else confident ones.

    Raises:
        ConfigError: matched queries of a split without boxes, or a score outside [0, 1].
    """
    if not 0 <= score <= 1:
        raise ConfigError(f"--score is {score}; give a score between 0 and 1.")
    if rule == "matched" and not annotated:
        raise ConfigError("The split has no annotated box to match queries with; use --queries confident or all.")
    return Counted(rule or ("matched" if annotated else "confident"), score)


def group_queries(
    queries: Queries, counted: Counted, classes: Sequence[str], light: NDArray[np.int64], weather: NDArray[np.int64]
) -> list[Grouping]:
    """All ways to sort queries that count.

    Args:
        queries: that count.
        counted: why.
        classes: names of the labels.
        light: (keyframes of the dataset,) index into `LIGHTS`.
        weather: (keyframes of the dataset,) index into `WEATHERS`.
    """
    return [
        Grouping("class", tuple(classes), counted.classes(queries)),
        Grouping("distance", distance_names(), np.searchsorted(DISTANCES_M, queries.distance_m, side="right") - 1),
        Grouping("cameras", ("none", "one", "two or more"), np.minimum(queries.cameras, 2).astype(np.int64)),
        Grouping("light", LIGHTS, light[queries.keyframe]),
        Grouping("weather", WEATHERS, weather[queries.keyframe]),
    ]


def distance_names() -> tuple[str, ...]:
    """`0-10 m` ... `50+ m`; a border belongs to the farther group."""
    between = zip(DISTANCES_M, DISTANCES_M[1:], strict=False)
    return (*(f"{low}-{high} m" for low, high in between), f"{DISTANCES_M[-1]}+ m")


def scene_conditions(dataset: Any, indices: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # noqa: ANN401
    """Light and weather of keyframes, as the describers of their scenes put it.

    nuScenes says `night` and `rain` in the description of a scene and nothing for day and dry roads; so these are
    known only where the name of the log shows a recording. Without tables below the dataroot, all is unknown.

    Args:
        dataset: with `infos`, `dataroot` and `info`.
        indices: of the keyframes to look up; the others stay unknown.

    Returns:
        (keyframes of the dataset,) twice: index into `LIGHTS` and into `WEATHERS`.
    """
    folder = Path(dataset.dataroot) / dataset.infos.header.dataset_version
    known = _described(folder) if (folder / "scene.json").is_file() and (folder / "log.json").is_file() else {}
    light, weather = (np.full(len(dataset), len(names) - 1) for names in (LIGHTS, WEATHERS))
    for index in indices:
        light[index], weather[index] = known.get(dataset.info(index).scene, (light[index], weather[index]))
    return light, weather


def conditions_of(description: str, logfile: str) -> tuple[int, int]:
    """Index into `LIGHTS` and into `WEATHERS` of a scene."""
    words = description.lower()
    recorded = _RECORDED.search(logfile) is not None
    light = "night" if "night" in words else "day" if recorded else "unknown"
    weather = "rain" if "rain" in words else "dry" if recorded else "unknown"
    return LIGHTS.index(light), WEATHERS.index(weather)


def _described(folder: Path) -> dict[str, tuple[int, int]]:
    """Scene name -> what its description says."""
    logs = dict(stream_table(folder, "log", ("token", "logfile"), defaults={"logfile": ""}))
    fields = ("name", "description", "log_token")
    scenes = stream_table(folder, "scene", fields, defaults={"description": "", "log_token": ""})
    return {name: conditions_of(description, logs.get(log, "")) for name, description, log in scenes}
