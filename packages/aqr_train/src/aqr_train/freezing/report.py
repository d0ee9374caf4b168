"""The table of `aqr verify-frozen`."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from aqr_train.freezing.verify import Verification

_PATTERN_WIDTH = 30


def group_table(found: Verification) -> Table:
    """One row per group, at most a hundred columns wide; its last two columns are the largest changes."""
    names = ("tensors", "numbers", "trains", "lr", "decay", "norms", "weights", "buffers")
    columns = [Column(name, justify="right", no_wrap=True) for name in names]
    table = Table(
        Column("group", no_wrap=True),
        *columns,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for row in found.rows:
        group = row.group
        rates = ("-", "-") if group.frozen else (f"{row.lr:.1e}", f"{group.weight_decay:.1e}")
        table.add_row(
            _folded(group.pattern),
            str(len(group.names)),
            str(group.size),
            "no" if group.frozen else "yes",
            *rates,
            row.norms,
            _size(row.weights),
            _size(row.buffers),
        )
    return table


def _folded(pattern: str) -> str:
    """Broken behind dots."""
    lines = [""]
    for part in pattern.replace(".", ".\n").split("\n"):
        if len(lines[-1] + part) > _PATTERN_WIDTH:
            lines.append("")
        lines[-1] += part
    return escape("\n".join(lines))


def _size(change: float) -> str:
    return "0" if change == 0 else f"{change:.1e}"
