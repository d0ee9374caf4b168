"""A suite as charts, on the page of a report and as PNG files alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aqr_eval.report.charts import Axis, Line
from aqr_eval.report.figures import Figure, LinePanel, RowPanel
from aqr_eval.report.png import save_png
from aqr_eval.report.rows import Mark, Row
from aqr_eval.robustness.run import RobustnessRun
from aqr_eval.robustness.scores import mean_resistance, resistance

_UNIT = (0.0, 0.5, 1.0)


def robustness_figures(runs: Mapping[str, RobustnessRun], colors: Sequence[str]) -> list[Figure]:
    """What is kept under each failure and in the mean, and, where a failure has several severities, NDS over them.

    Args:
        runs: name -> its run.
        colors: names in the order that gives them their colours.
    """
    css = {name: f"submission-{colors.index(name)}" for name in runs}
    key = [(css[name], name) for name in runs] if len(runs) > 1 else []
    failures = list(dict.fromkeys(failure for run in runs.values() for failure in run.by_corruption))
    figures = [Figure("robustness", "", key, [_kept(runs, failures, css)], large=True)]
    if any(len(cells) > 1 for run in runs.values() for cells in run.by_corruption.values()):
        panels = [_over_severity(runs, failure, css) for failure in failures]
        figures.append(Figure("robustness_severities", "NDS over severity", key, panels))
    return figures


def write_figures(folder: Path, runs: Mapping[str, RobustnessRun]) -> list[Path]:
    """Writes `robustness.png`, and `robustness_severities.png` where a failure has several; returns their paths."""
    return [save_png(figure, "Robustness", folder) for figure in robustness_figures(runs, list(runs))]


def _kept(runs: Mapping[str, RobustnessRun], failures: Sequence[str], css: Mapping[str, str]) -> RowPanel:
    kept = {name: resistance(run) for name, run in runs.items()}
    rows = [
        Row(failure_words(failure), [Mark(kept[name].get(failure, math.nan), css[name]) for name in runs])
        for failure in failures
    ]
    rows.append(Row("mean (mRA)", [Mark(mean_resistance(run), css[name]) for name, run in runs.items()]))
    most = max((mark.value for row in rows for mark in row.marks if math.isfinite(mark.value)), default=1.0)
    return RowPanel("RA", "share of the clean NDS", rows, Axis.around(np.array([0.0, max(1.0, most)])))


def _over_severity(runs: Mapping[str, RobustnessRun], failure: str, css: Mapping[str, str]) -> LinePanel:
    lines = []
    severities = {0}
    for name, run in runs.items():
        cells = [run.clean, *run.by_corruption.get(failure, ())]
        severities.update(cell.severity for cell in cells)
        scores = np.array([cell.nds for cell in cells])
        lines.append(Line(np.array([float(cell.severity) for cell in cells]), scores, css[name], dots=True))
    ticks = tuple(float(severity) for severity in sorted(severities))
    x = Axis(0.0, max(1.0, ticks[-1]), ticks, "severity")
    return LinePanel(failure_words(failure), "", lines, x, Axis(0, 1, _UNIT, "NDS"))


def failure_words(failure: str) -> str:
    """The name of a failure as a reader sees it."""
    return failure.replace("_", " ")
