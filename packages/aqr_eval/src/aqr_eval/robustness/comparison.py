"""Several models in the same suite, measured against the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aqr_eval.metrics import without_nan
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.robustness.run import RobustnessRun
from aqr_eval.robustness.scores import (
    corruption_errors,
    mean_corruption_error,
    mean_relative_resistance,
    mean_resistance,
    relative_resistance,
    resistance,
)


@dataclass(frozen=True)
class Row:
    """One quantity of every model.

    Attributes:
        name: of the quantity.
        values: model -> value.
        differences: model -> value less that of the first; of the first itself there is none.
        is_summary: over all corruptions, not of one.
    """

    name: str
    values: Mapping[str, float]
    differences: Mapping[str, float]
    is_summary: bool = False


@dataclass(frozen=True)
class Comparison:
    """Runs over the same cells.

    Attributes:
        runs: by name; the first is the baseline.
        remarks: what a reader has to know: cells that not all have, other seeds or keyframes.
    """

    runs: Mapping[str, RobustnessRun]
    remarks: tuple[str, ...] = ()

    @property
    def baseline(self) -> str:
        """The name that the others are measured against."""
        return next(iter(self.runs))

    def rows(self) -> Iterator[Row]:
        """Clean NDS, mean NDS per corruption, and the means; mRRA and mCE stand for their own differences."""
        yield self._row("clean NDS", lambda run: run.clean.nds)
        for name in self.runs[self.baseline].by_corruption:
            yield self._row(name, partial(mean_nds, corruption=name))
        yield replace(self._row("mRA", mean_resistance), is_summary=True)
        base = self.runs[self.baseline]
        for title, of in (("mRRA", mean_relative_resistance), ("mCE", mean_corruption_error)):
            yield Row(title, {model: of(run, base) for model, run in self.runs.items()}, {}, is_summary=True)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; NaN becomes None."""
        base = self.runs[self.baseline]
        content: dict[str, Any] = without_nan(
            {
                "suite": base.suite,
                "baseline": self.baseline,
                "remarks": self.remarks,
                "models": {
                    name: {
                        "model": run.model,
                        "clean": {"NDS": run.clean.nds, "mAP": run.clean.mean_ap},
                        "NDS": {corruption: mean_nds(run, corruption) for corruption in run.by_corruption},
                        "mRA": mean_resistance(run),
                        "RA": resistance(run),
                        "mRRA": mean_relative_resistance(run, base),
                        "RRA": relative_resistance(run, base),
                        "mCE": mean_corruption_error(run, base),
                        "CE": corruption_errors(run, base),
                    }
                    for name, run in self.runs.items()
                },
            }
        )
        return content

    def _row(self, name: str, of: Callable[[RobustnessRun], float]) -> Row:
        values = {model: of(run) for model, run in self.runs.items()}
        first = values[self.baseline]
        return Row(name, values, {model: value - first for model, value in values.items() if model != self.baseline})


def compare_runs(runs: Mapping[str, RobustnessRun]) -> Comparison:
    """The cells that all runs have.

    Raises:
        AqrError: the suites differ, or no cell is common to all.
    """
    first_name, *others = runs
    first = runs[first_name]
    for name in others:
        if runs[name].suite != first.suite:
            raise AqrError(
                f"{first_name} is of the suite {first.suite} and {name} of {runs[name].suite}; compare runs of "
                "one suite."
            )
    common, left_out = common_cells(list(runs.values()))
    if not common[0].cells:
        raise AqrError(f"{', '.join(runs)} have no cell in common; run the suite for all of them.")
    remarks = [f"Left out, as not all have them: {', '.join(left_out)}."] if left_out else []
    for what, words in (("keyframes", "keyframes"), ("seed", "seeds of the failures")):
        values = {name: getattr(run, what) for name, run in runs.items()}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{name} {value}" for name, value in values.items())
            remarks.append(f"The {words} differ: {listed}.")
    return Comparison(dict(zip(runs, common, strict=True)), tuple(remarks))


def common_cells(runs: Sequence[RobustnessRun]) -> tuple[list[RobustnessRun], list[str]]:
    """The runs with the cells alone that all have, and the names of the others ('fog 2')."""
    in_all = set.intersection(*(set(run.keys) for run in runs))
    left_out = dict.fromkeys(
        f"{name} {severity}" for run in runs for name, severity in run.keys if (name, severity) not in in_all
    )
    kept = [
        replace(run, cells=tuple(cell for cell in run.cells if (cell.corruption, cell.severity) in in_all))
        for run in runs
    ]
    return kept, list(left_out)


def mean_nds(run: RobustnessRun, corruption: str) -> float:
    """Over its severities."""
    cells = run.by_corruption[corruption]
    return math.fsum(cell.nds for cell in cells) / len(cells)
