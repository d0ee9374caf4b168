"""What simulated sensor failures leave of the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from aqr_eval.report.charts import Axis, Line
from aqr_eval.report.figures import Figure, LinePanel, RowPanel
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.rows import Mark, Row
from aqr_eval.report.tables import number
from aqr_eval.robustness import CellResult, RobustnessRun
from aqr_eval.robustness.removed import describe
from aqr_eval.robustness.scores import mean_resistance, resistance

_UNIT = (0.0, 0.5, 1.0)
_LEAD = (
    "Scores under simulated sensor failures ({suites}). RA is the share of the clean NDS that is kept under a failure, "
    "the mean over its severities; mRA is the mean over the failures. Severity 0 is the clean test."
)
_SKIPPED = " Left out: {}."


def robustness_part(runs: Mapping[str, RobustnessRun], colors: Sequence[str]) -> Part:
    """RA per failure, NDS over severity per failure, and every cell in a table.

    Args:
        runs: name -> its run.
        colors: names in the order that gives them their colours.
    """
    skipped = dict.fromkeys(
        f"{_words(one.corruption)} {one.severity} of {name} ({one.reason})"
        for name, run in runs.items()
        for one in run.skipped
    )
    lead = _LEAD.format(suites=", ".join(dict.fromkeys(run.suite for run in runs.values())))
    key = [(f"submission-{colors.index(name)}", name) for name in runs] if len(runs) > 1 else []
    failures = list(dict.fromkeys(failure for run in runs.values() for failure in run.by_corruption))
    css = {name: f"submission-{colors.index(name)}" for name in runs}
    return Part(
        "Robustness",
        lead + (_SKIPPED.format("; ".join(skipped)) if skipped else ""),
        [
            Figure("robustness", "", key, [_kept(runs, failures, css)], large=True),
            Figure("robustness_severities", "NDS over severity", key, [_over_severity(runs, f, css) for f in failures]),
        ],
        [_summary_table(runs), *(_cell_table(name, run) for name, run in runs.items())],
    )


def _kept(runs: Mapping[str, RobustnessRun], failures: Sequence[str], css: Mapping[str, str]) -> RowPanel:
    kept = {name: resistance(run) for name, run in runs.items()}
    rows = [
        Row(_words(failure), [Mark(kept[name].get(failure, math.nan), css[name]) for name in runs])
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
    return LinePanel(_words(failure), "", lines, x, Axis(0, 1, _UNIT, "NDS"))


def _summary_table(runs: Mapping[str, RobustnessRun]) -> PlainTable:
    rows = [
        [name, run.suite, number(run.clean.nds, 4), number(run.clean.mean_ap, 4), number(mean_resistance(run), 4)]
        for name, run in runs.items()
    ]
    return PlainTable("All failures", ["Model", "suite", "clean NDS", "clean mAP", "mRA"], rows)


def _cell_table(name: str, run: RobustnessRun) -> PlainTable:
    kept = resistance(run)
    rows = [["clean", "", *_scores(run.clean), "", ""]]
    for failure, cells in run.by_corruption.items():
        for place, cell in enumerate(cells):
            ra = number(kept[failure]) if place == 0 else ""
            rows.append([_words(failure), str(cell.severity), *_scores(cell), ra, describe(cell.removed)])
    return PlainTable(name, ["Failure", "severity", "NDS", "mAP", "RA", "what is lost"], rows)


def _scores(cell: CellResult) -> tuple[str, str]:
    return number(cell.nds), number(cell.mean_ap)


def _words(failure: str) -> str:
    return failure.replace("_", " ")
