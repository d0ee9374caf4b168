"""The account: what became of every field of the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Path = tuple[str | int, ...]


class Outcome(Enum):
    """What became of a field; the value is the heading of its kind in the account."""

    DIFFERENCE = "DIFFERENCES: changes results and cannot be expressed, or is not known"
    ADDED = "Added: where the source is silent, upstream does something else than we"
    RENAMED = "Renamed"
    DERIVED = "Expressed otherwise"
    DROPPED = "Dropped"
    KEPT = "Carried over as it is"


@dataclass(frozen=True)
class Row:
    """One field, or a whole dict or list of them.

    Attributes:
        path: names and list indices, from the top of the source.
        outcome: what became of it.
        value: what the source says; of something added, what is written.
        target: where it went, dotted, for what was renamed or expressed otherwise.
        why: the reason, for all but what was kept or renamed.
    """

    path: Path
    outcome: Outcome
    value: Any
    target: str = ""
    why: str = ""


class Ledger:
    """Rows in the order in which they were written.

    Attributes:
        rows: the account.
        notes: sentences about what no single field says.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def record(self, path: Path, outcome: Outcome, value: Any, *, target: str = "", why: str = "") -> None:  # noqa: ANN401
        """Account for a field and everything below it."""
        self.rows.append(Row(path, outcome, value, target, why))

    def note(self, sentence: str) -> None:
        """Say something, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def of(self, outcome: Outcome) -> list[Row]:
        """The rows of one kind."""
        return [row for row in self.rows if row.outcome is outcome]

    def close(self, source: Mapping[str, Any]) -> None:
        """Write a difference for every field that nobody has accounted for, so that none is lost in silence."""
        settled = {row.path for row in self.rows if row.outcome is not Outcome.ADDED}
        for name in source:
            if not any(path[0] == name for path in settled):
                why = "nothing in the file uses it, and nothing here knows it"
                self.record((name,), Outcome.DIFFERENCE, source[name], why=why)
                settled.add((name,))
        for path, value in leaves(source):
            if not any(path[:depth] in settled for depth in range(1, len(path) + 1)):
                self.record(path, Outcome.DIFFERENCE, value, why="not known here, and left out")


def leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 - a config holds anything
    """Every field that holds no fields itself; a list without dicts is one value, an empty dict or list too."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list | tuple) and any(isinstance(item, Mapping) for item in node):
        for index, item in enumerate(node):
            yield from leaves(item, (*path, index))
    else:
        yield path, node
