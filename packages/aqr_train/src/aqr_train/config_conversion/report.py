"""The account as lines of text."""

from __future__ import annotations

from aqr_train.config_conversion.fields import dotted
from aqr_train.config_conversion.ledger import Ledger, Outcome, Row

_VALUE_WIDTH = 40


def lines(ledger: Ledger) -> list[str]:
    """Heading by heading, differences first; of what was kept the names alone, by section."""
    out: list[str] = []
    for outcome in Outcome:
        rows = ledger.of(outcome)
        if rows:
            out += [f"{outcome.value} ({len(rows)})"]
            out += [f"  {line}" for line in _GROUPED.get(outcome, _one_by_one)(rows)]
    if ledger.notes:
        out += ["Notes", *(f"  {note}" for note in ledger.notes)]
    return out


def _line(row: Row) -> str:
    text = f"{dotted(row.path)} = {_short(row.value)}"
    if row.target:
        text += f" -> {row.target}"
    return f"{text}: {row.why}" if row.why else text


def _one_by_one(rows: list[Row]) -> list[str]:
    return [_line(row) for row in rows]


def _names_by_section(rows: list[Row]) -> list[str]:
    sections: dict[str, list[str]] = {}
    for row in rows:
        sections.setdefault(_section(row), []).append(str(row.path[-1]))
    return [f"{section}: {', '.join(names)}" for section, names in sections.items()]


def _values_by_section_and_reason(rows: list[Row]) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((_section(row), row.why), []).append(f"{row.path[-1]} = {_short(row.value)}")
    return [f"{section}: {', '.join(values)}: {why}" for (section, why), values in groups.items()]


def _section(row: Row) -> str:
    return dotted(row.path[:-1]) or "top level"


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 3]}..."


_GROUPED = {Outcome.KEPT: _names_by_section, Outcome.DROPPED: _values_by_section_and_reason}
