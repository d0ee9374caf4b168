"""One run as a table on the screen, within 100 columns, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from aqr_eval.markdown import markdown_table
from aqr_eval.robustness.removed import describe
from aqr_eval.robustness.run import CLEAN, CellResult, RobustnessRun
from aqr_eval.robustness.scores import mean_resilience_rate, mean_resistance, resistance
from aqr_eval.score_table import plain_table

HEAD = ("corruption", "severity", "NDS", "kept", "mAP", "RA", "what failed, on average")
DIGITS = 3


def title(run: RobustnessRun) -> str:
    """What was tested, in words."""
    keyframes = f", {run.keyframes} keyframes" if run.keyframes else ""
    return f"{run.model}, suite {run.suite}{keyframes}, seed {run.seed}"


def run_table(run: RobustnessRun) -> Table:
    """A row per cell; RA of a corruption stands beside its last severity, a reason beside what was skipped."""
    table = plain_table("corruption", "sev", "NDS", "kept", "mAP", "RA", "what failed, on average")
    table.title = Text(title(run))
    table.columns[-1].justify = "left"
    table.columns[0].no_wrap = True  # a narrow screen folds the remarks
    for name, severity, *numbers, remark in _rows(run):
        table.add_row(Text(name), severity, *numbers, Text(remark), end_section=name == CLEAN)
    return table


def summary_line(run: RobustnessRun) -> str:
    """The means over all corruptions."""
    return (
        f"mRA {number(mean_resistance(run))}, mRR {number(mean_resilience_rate(run))} "
        f"over {len(run.by_corruption)} corruptions; kept and RA are shares of the clean NDS."
    )


def run_to_markdown(run: RobustnessRun) -> str:
    """The same with what keeps cells from being compared with published ones."""
    parts = [f"{title(run)}.", markdown_table(HEAD, list(_rows(run))), summary_line(run)]
    notes = {cell.corruption: cell.differs for cell in run.cells if cell.differs}
    if notes:
        listed = "\n".join(f"- {name}: {note}" for name, note in notes.items())
        parts.append(f"Not to be compared with published numbers:\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def number(value: float) -> str:
    """A score or a ratio; '-' for one that is not defined."""
    return "-" if math.isnan(value) else f"{value:.{DIGITS}f}"


def _rows(run: RobustnessRun) -> Iterator[list[str]]:
    """What stands below `HEAD`."""
    yield [CLEAN, "", number(run.clean.nds), "", number(run.clean.mean_ap), "", ""]
    kept_of = resistance(run)
    for name, cells in run.by_corruption.items():
        for cell in cells:
            ra = number(kept_of[name]) if cell is cells[-1] else ""
            yield [*_scores(run, cell), ra, describe(cell.removed)]
    for skipped in run.skipped:
        yield [skipped.corruption, str(skipped.severity), "-", "-", "-", "-", f"skipped: {skipped.reason}"]


def _scores(run: RobustnessRun, cell: CellResult) -> list[str]:
    kept = cell.nds / run.clean.nds if run.clean.nds else math.nan
    return [cell.corruption, str(cell.severity), *map(number, (cell.nds, kept, cell.mean_ap))]
