"""Puts sensor failures where they belong in the pipeline of any test set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aqr_core.data.faults.fault import Place
from aqr_core.data.faults.random_fault import build_fault
from aqr_core.errors import ConfigError

_logger = logging.getLogger(__name__)
_LOADER = {"lidar": "LoadPointsFromFile", "camera": "LoadMultiViewImageFromFiles"}
_BEHIND = {
    Place.FIRST: (),
    Place.BEHIND_IMAGES: ("LoadMultiViewImageFromFiles",),
    Place.BEHIND_POINTS: ("LoadPointsFromFile", "LoadPointsFromMultiSweeps"),
}


def with_faults(dataset: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """A copy of a `data` entry whose pipeline has sensor failures, each at its place.

    A detector of one sensor meets those failures only that strike this sensor: fog is in its images, or in its points.
    What is left out is said in a warning.

    Args:
        dataset: a test set of a config, with its `pipeline`.
        steps: config dicts of failures, such as a cell's; in one place they keep their order.
        seed: of all their draws, unless a step has its own.

    Raises:
        ConfigError: a step is no failure or has a wrong argument, or the pipeline loads no sensor that they strike, so
            that nothing would change.
    """
    pipeline = list(dataset.get("pipeline", []))
    struck: list[tuple[Place, Mapping[str, Any]]] = []
    left_out = []
    for step in steps:
        step = {"seed": seed, **step}
        fault = build_fault(step)
        if _last(pipeline, (_LOADER[fault.sensor],)) is None:
            left_out.append((step["type"], _LOADER[fault.sensor]))
        else:
            struck.append((fault.place, step))
    if left_out and not struck:
        name, loader = left_out[0]
        raise ConfigError(
            f"The pipeline has no {loader}, so with {name} nothing would change; choose a failure of another sensor, "
            "or a config that uses this one."
        )
    for name, loader in left_out:
        _logger.warning("%s is left out: the pipeline has no %s", name, loader)
    for place in Place:
        at = _last(pipeline, _BEHIND[place])
        at = 0 if at is None else at + 1
        pipeline[at:at] = [step for where, step in struck if where is place]
    return {**dataset, "pipeline": pipeline}


def _last(pipeline: Sequence[Any], types: Sequence[str]) -> int | None:
    """Where the last step of one of these types stands."""
    found = [i for i, step in enumerate(pipeline) if isinstance(step, Mapping) and step.get("type") in types]
    return found[-1] if found else None
