"""The summary of a run as strict JSON.

    {"suite", "model", "seed", "keyframes",
     "clean": {"NDS", "mAP", "errors": {...}},
     "cells": [{"corruption", "severity", "NDS", "mAP", "errors", "removed": {...}, "differs"}, ...],
     "skipped": [{"corruption", "severity", "reason"}, ...],
     "summary": {"mRA", "mRR", "RA": {corruption: ...}}}

What is not a number is null. `summary` is there for other readers; ours computes it from the cells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from aqr_eval.metrics import without_nan
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.robustness.run import CLEAN, CellResult, RobustnessRun, SkippedCell
from aqr_eval.robustness.scores import mean_resilience_rate, mean_resistance, resistance
from aqr_eval.whole_files import write_text

SUMMARY = "summary.json"
Value = TypeVar("Value")


def load_run(path: str | Path) -> RobustnessRun:
    """Reads a summary.

    Args:
        path: the file, or the folder of `aqr robustness` with a `summary.json`.

    Raises:
        DataError: there is none, or it is none; says where.
    """
    path = Path(path)
    if path.is_dir():
        path = path / SUMMARY
    if not path.is_file():
        raise DataError(f"{path} does not exist; name the summary.json that `aqr robustness` writes at its end.")
    try:
        return run_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DataError(
            f"{path} is no summary of robustness ({cause}); write it again with `aqr robustness`."
        ) from None


def write_run(path: str | Path, run: RobustnessRun) -> Path:
    """Writes a summary; an interrupted run leaves no partial file."""
    return write_text(path, json.dumps(run_to_dict(run), indent=1, allow_nan=False) + "\n")


def run_to_dict(run: RobustnessRun) -> dict[str, Any]:
    """As above."""
    clean = cell_to_dict(run.clean)
    content: dict[str, Any] = without_nan(
        {
            "suite": run.suite,
            "model": run.model,
            "seed": run.seed,
            "keyframes": run.keyframes,
            "clean": {name: clean[name] for name in ("NDS", "mAP", "errors")},
            "cells": [cell_to_dict(cell) for cell in run.cells],
            "skipped": [asdict(cell) for cell in run.skipped],
            "summary": {"mRA": mean_resistance(run), "mRR": mean_resilience_rate(run), "RA": resistance(run)},
        }
    )
    return content


def run_from_dict(content: Mapping[str, Any]) -> RobustnessRun:
    """The inverse of `run_to_dict`. A `ValueError`, `TypeError`, `KeyError` or `AttributeError` where it is none."""
    cells = tuple(map(cell_from_dict, content["cells"]))
    names = [cell.corruption for cell in cells]
    if len({(cell.corruption, cell.severity) for cell in cells}) < len(cells):
        raise ValueError("a cell comes twice")
    order = {name: place for place, name in reversed(list(enumerate(names)))}
    return RobustnessRun(
        model=_of(str, content["model"]),
        suite=_of(str, content["suite"]),
        clean=cell_from_dict({"corruption": CLEAN, "severity": 0, **content["clean"]}),
        cells=tuple(sorted(cells, key=lambda cell: (order[cell.corruption], cell.severity))),
        skipped=tuple(SkippedCell(**skipped) for skipped in content.get("skipped", [])),
        seed=_of(int, content.get("seed", 0)),
        keyframes=_of(int, content.get("keyframes", 0)),
    )


def cell_to_dict(cell: CellResult) -> dict[str, Any]:
    """One of `cells`."""
    content: dict[str, Any] = without_nan(
        {
            "corruption": cell.corruption,
            "severity": cell.severity,
            "NDS": cell.nds,
            "mAP": cell.mean_ap,
            "errors": cell.tp_errors,
            "removed": cell.removed,
            "differs": cell.differs,
        }
    )
    return content


def cell_from_dict(content: Mapping[str, Any]) -> CellResult:
    """The inverse of `cell_to_dict`; same errors as `run_from_dict`."""
    return CellResult(
        corruption=_of(str, content["corruption"]),
        severity=_of(int, content["severity"]),
        nds=_score(content, "NDS"),
        mean_ap=_score(content, "mAP"),
        tp_errors={name: _number(value) for name, value in content.get("errors", {}).items()},
        removed={name: _number(value) for name, value in content.get("removed", {}).items()},
        differs=_of(str, content.get("differs", "")),
    )


def _score(content: Mapping[str, Any], name: str) -> float:
    score = _number(content[name])
    if not 0 <= score <= 1:
        raise ValueError(f"{name} is {content[name]!r} and not between 0 and 1")
    return score


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ValueError(f"{value!r} is no number")
    return math.nan if value is None else float(value)


def _of(kind: type[Value], value: object) -> Value:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return value
