"""A comparison on the screen, within 100 columns, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from aqr_eval.markdown import markdown_table
from aqr_eval.robustness.comparison import Comparison, Row
from aqr_eval.robustness.tables import DIGITS, number
from aqr_eval.score_table import signed

_MODELS_PER_TABLE = 4  # what 100 columns hold beside the longest name
_WIDTH = 15
_AS_SIGNED_PER_CENT = ("mRRA",)


def comparison_tables(comparison: Comparison, heading: str = "") -> Iterator[Table]:
    """Quantities as rows, four models per table; differences to the first stand behind the numbers."""
    names = list(comparison.runs)
    for start in range(0, len(names), _MODELS_PER_TABLE):
        shown = names[start : start + _MODELS_PER_TABLE]
        table = Table(box=None, padding=(0, 1, 0, 0), title_justify="left")
        table.title = Text(heading or _heading(comparison))
        table.add_column("mean NDS", no_wrap=True)
        for name in shown:
            table.add_column(Text(name), justify="right", max_width=_WIDTH, overflow="fold")
        for row in comparison.rows():
            style = "bold" if row.is_summary else ""
            table.add_row(Text(row.name, style=style), *(Text(_cell(row, name), style=style) for name in shown))
        yield table


def comparison_to_markdown(comparison: Comparison, heading: str = "") -> str:
    """The same with the remarks."""
    rows = [[row.name, *(_cell(row, name) for name in comparison.runs)] for row in comparison.rows()]
    parts = [heading or f"{_heading(comparison)}.", markdown_table(["mean NDS", *comparison.runs], rows)]
    return "\n\n".join([*parts, *comparison.remarks]) + "\n"


def _heading(comparison: Comparison) -> str:
    suite = comparison.runs[comparison.baseline].suite
    return f"Suite {suite}; differences, mRRA and mCE are against {comparison.baseline}"


def _cell(row: Row, model: str) -> str:
    value, difference = row.values[model], row.differences.get(model)
    if row.name in _AS_SIGNED_PER_CENT:
        return "-" if math.isnan(value) else f"{100 * value + 0.0:+.2f} %"
    if difference is None or math.isnan(difference):
        return number(value)
    return f"{number(value)} ({signed(difference, DIGITS)})"
