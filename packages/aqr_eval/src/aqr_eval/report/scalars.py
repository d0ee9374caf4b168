"""The training log on disk: `scalars.jsonl`, one JSON object per line with `step` and named numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.errors import DataError

Array = NDArray[np.float64]
Series = tuple[Array, Array]


def read_scalars(path: Path) -> dict[str, Series]:
    """Read every series of a training log.

    A resumed run may write a step twice: the later line wins. Values that are not finite are left out.

    Returns:
        Name -> ((n,) ascending steps, (n,) values).

    Raises:
        DataError: the file cannot be read, or a line is not an object with a numeric `step`.
    """
    series: dict[str, dict[float, float]] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a training log ({error}): pass the run's scalars.jsonl.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        record = _parse(line, path, number)
        for name, value in record.items():
            if name not in ("step", "epoch") and _is_number(value) and math.isfinite(value):
                series.setdefault(name, {})[record["step"]] = value
    return {name: _sorted(points) for name, points in series.items()}


def thin(series: Series, count: int) -> Series:
    """At most `count` points: the means of equal runs of neighbours."""
    steps, values = series
    if len(steps) <= count:
        return series
    starts = np.arange(count) * len(steps) // count
    lengths = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps, starts) / lengths, np.add.reduceat(values, starts) / lengths


def smooth(values: Array, share: float = 0.06) -> Array:
    """Centred moving average over about `share` of the series; windows shrink at both ends instead of padding."""
    half = int(len(values) * share / 2)
    sums: Array = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(half, np.minimum(index, len(values) - 1 - index))
    means: Array = (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)
    return means


def _parse(line: str, path: Path, number: int) -> dict[str, float]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {number} is not JSON ({error}): delete the broken line or log again.") from error
    if not isinstance(record, dict) or not _is_number(record.get("step")):
        raise DataError(f"{path} line {number} has no numeric `step`: pass the scalars.jsonl of a training run.")
    return record


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sorted(points: dict[float, float]) -> Series:
    steps = sorted(points)
    return np.array(steps, dtype=float), np.array([points[step] for step in steps], dtype=float)
