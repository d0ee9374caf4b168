"""Horizontal bars, and points with intervals, in named rows: inline SVG in the style of `charts`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from aqr_eval.report.charts import Axis, format_tick

_WIDTH, _RIGHT, _BOTTOM, _TOP = 400, 44, 34, 4
_LETTER_WIDTH, _CAPITAL_WIDTH = 6.3, 9.0
_MARK_HEIGHT, _ROW_GAP = 13, 7


@dataclass(frozen=True, slots=True)
class Mark:
    """One value of a row, NaN for none.

    Attributes:
        value: where the bar ends, or the point lies.
        css: class that colours it.
        interval: (low, high) of a whisker, or None; a mark with one is a point, otherwise a bar from 0.
    """

    value: float
    css: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A name and the marks below one another in its row; `form` writes the values beside them."""

    label: str
    marks: Sequence[Mark]
    form: str = ".3f"


def row_chart(rows: Sequence[Row], x: Axis, *, title: str) -> str:
    """An SVG chart as high as its rows need; `title` is what a screen reader says."""
    left = round(12 + max((_width(row.label) for row in rows), default=0))
    inner = _WIDTH - left - _RIGHT
    heights = [_MARK_HEIGHT * len(row.marks) + _ROW_GAP for row in rows]
    base = _TOP + sum(heights)

    def across(value: float) -> float:
        return left + (min(max(value, x.low), x.high) - x.low) / (x.high - x.low) * inner

    parts = [
        f'<svg class="chart rows" viewBox="0 0 {_WIDTH} {base + _BOTTOM}" role="img" aria-label="{escape(title)}">'
    ]
    for tick in x.ticks:
        css = "axis" if tick == 0 else "grid"
        parts.append(f'<path class="{css}" d="M{across(tick):.1f} {_TOP}V{base + 2}"/>')
        text = _minus(format_tick(tick, x))
        parts.append(f'<text x="{across(tick):.1f}" y="{base + 15}" text-anchor="middle">{text}</text>')
    if x.label:
        middle = left + inner / 2
        parts.append(f'<text x="{middle:.1f}" y="{base + 30}" text-anchor="middle">{escape(x.label)}</text>')
    top = float(_TOP)
    for row, height in zip(rows, heights, strict=True):
        middle = top + height / 2
        parts.append(
            f'<text class="row" x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(row.label)}</text>'
        )
        for number, mark in enumerate(row.marks):
            y = top + _ROW_GAP / 2 + (number + 0.5) * _MARK_HEIGHT
            parts.append(_mark(mark, across, y, row.form))
        top += height
    return "".join(parts) + "</svg>"


def write_value(value: float, form: str) -> str:
    """A number beside its mark."""
    return _minus(f"{value:{form}}")


def _minus(text: str) -> str:
    """A minus as wide as a plus."""
    return text.replace("-", "−")


def _width(text: str) -> float:
    """About as wide as the text is, user units."""
    return sum(_CAPITAL_WIDTH if letter.isupper() else _LETTER_WIDTH for letter in text)


def _mark(mark: Mark, across: Callable[[float], float], y: float, form: str) -> str:
    if math.isnan(mark.value):
        return f'<text class="value" x="{across(0) + 5:.1f}" y="{y + 4:.1f}">–</text>'
    at, start = across(mark.value), across(0)
    text = write_value(mark.value, form)
    if mark.interval is None:
        size = f'width="{abs(at - start):.1f}" height="9"'
        shape = f'<rect class="{mark.css}" x="{min(at, start):.1f}" y="{y - 4.5:.1f}" {size}/>'
        end = max(at, start)
    else:
        low, high = map(across, mark.interval)
        shape = (
            f'<path class="whisker {mark.css}" d="M{low:.1f} {y - 3:.1f}v6m0 -3H{high:.1f}m0 -3v6"/>'
            f'<circle class="{mark.css}" cx="{at:.1f}" cy="{y:.1f}" r="3.2"/>'
        )
        end = max(at, high)
    return f'{shape}<text class="value" x="{end + 5:.1f}" y="{y + 4:.1f}">{text}</text>'
