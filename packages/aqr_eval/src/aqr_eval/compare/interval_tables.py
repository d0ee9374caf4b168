"""Intervals of a comparison, on the screen within 80 columns and as rows for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from aqr_eval.analysis.bootstrap import COVERAGE
from aqr_eval.compare.comparison import DIGITS, SUMMARY, Comparison, Score
from aqr_eval.config import TP_ERRORS
from aqr_eval.score_table import ERROR_TITLES, plain_table, signed

HEAD = ("", "model", "value", "interval", "difference", "interval", "> 0")
HEADLINES = (*SUMMARY, *TP_ERRORS)


def interval_table(comparison: Comparison, condition: str) -> Table:
    """NDS, mAP and the mean errors of each model, and the differences to the first: one line per number."""
    table = plain_table(*HEAD)
    table.columns[1].justify = "left"
    table.title = Text(f"{COVERAGE:.0%} intervals, {condition}")
    for quantity, rows in interval_rows(comparison, condition, HEADLINES):
        for number, (model, *cells) in enumerate(rows):
            last = number == len(rows) - 1
            table.add_row(Text("" if number else quantity), Text(model), *cells, end_section=last)
    return table


def interval_rows(
    comparison: Comparison, condition: str, quantities: Sequence[str]
) -> Iterator[tuple[str, list[list[str]]]]:
    """Title of a quantity, and for every model what stands below `HEAD[1:]`."""
    for quantity in quantities:
        title = f"m{ERROR_TITLES[quantity]}" if quantity in ERROR_TITLES else quantity
        scores = comparison.column(condition, quantity)
        yield title, [[model, *_cells(score)] for model, score in scores.items()]


def _cells(score: Score) -> list[str]:
    """Value, interval, difference, its interval, and the share of draws in which it is above 0."""
    assert score.interval is not None, "no scenes were drawn"
    cells = [f"{score.value:.{DIGITS}f}", _range(score.interval.low, score.interval.high, "")]
    if score.paired is None:
        return [*cells, "", "", ""]
    paired = score.paired
    return [
        *cells,
        signed(paired.value, DIGITS),
        _range(paired.low, paired.high, "+"),
        f"{paired.above:.0%}",
    ]


def _range(low: float, high: float, sign: str) -> str:
    return f"[{_rounded(low):{sign}.{DIGITS}f}, {_rounded(high):{sign}.{DIGITS}f}]"


def _rounded(value: float) -> float:
    return round(value, DIGITS) + 0.0  # + 0.0: no minus before a zero
