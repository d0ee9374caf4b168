"""Tables of finished text, for the page and for Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from aqr_eval.markdown import markdown_table


@dataclass(frozen=True, slots=True)
class PlainTable:
    """Text in rows and columns; the first column names the rows, the others hold numbers.

    Attributes:
        title: above it, '' for none.
        head: one word or two per column.
        rows: of as many cells as `head`.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_html(self) -> str:
        """A table that scrolls inside its box where the window is narrow."""
        title = f"<h3>{escape(self.title)}</h3>" if self.title else ""
        head = "".join(f'<th scope="col">{escape(word)}</th>' for word in self.head)
        rows = "".join(
            f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
            for first, *rest in self.rows
        )
        return (
            f'{title}<div class="wide"><table class="plain"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )

    def to_markdown(self) -> str:
        """A table as GitHub reads it, below its title in bold."""
        table = markdown_table(list(map(_quoted, self.head)), [list(map(_quoted, row)) for row in self.rows])
        return f"**{_quoted(self.title)}**\n\n{table}" if self.title else table


def _quoted(text: str) -> str:
    """Text that Markdown shows as it is; the table itself takes care of bars."""
    return "".join(f"\\{letter}" if letter in r"\*_`<[" else letter for letter in text)
