"""What simulated sensor failures leave of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.robustness_figures import failure_words, robustness_figures
from aqr_eval.report.tables import number
from aqr_eval.robustness import CellResult, RobustnessRun
from aqr_eval.robustness.removed import describe
from aqr_eval.robustness.scores import mean_resistance, resistance

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
        f"{failure_words(one.corruption)} {one.severity} of {name} ({one.reason})"
        for name, run in runs.items()
        for one in run.skipped
    )
    lead = _LEAD.format(suites=", ".join(dict.fromkeys(run.suite for run in runs.values())))
    return Part(
        "Robustness",
        lead + (_SKIPPED.format("; ".join(skipped)) if skipped else ""),
        robustness_figures(runs, colors),
        [_summary_table(runs), *(_cell_table(name, run) for name, run in runs.items())],
    )


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
            rows.append([failure_words(failure), str(cell.severity), *_scores(cell), ra, describe(cell.removed)])
    return PlainTable(name, ["Failure", "severity", "NDS", "mAP", "RA", "what is lost"], rows)


def _scores(cell: CellResult) -> tuple[str, str]:
    return number(cell.nds), number(cell.mean_ap)
