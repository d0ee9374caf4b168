"""A table that goes to the screen and into a Markdown file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """Rows of text.

    Attributes:
        title: above it.
        columns: names, which may repeat.
        rows: one cell per column.
        words: columns that are aligned left; all others hold numbers.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Collection[str] = ()

    def rich(self) -> Table:
        """For a console."""
        table = Table(title=self.title, title_justify="left")
        for column in self.columns:
            table.add_column(column, justify="left" if column in self.words else "right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> list[str]:
        """Lines: a heading, the table, and an empty line after either."""
        cells = [self.columns, ["---"] * len(self.columns), *self.rows]
        return [f"## {self.title}", "", *(f"| {' | '.join(row)} |" for row in cells), ""]
