"""Tables as GitHub reads them."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown themselves; the first column names the rows, the others hold numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = ([cell.replace("|", r"\|") for cell in row] for row in (head, rule, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
