"""Line charts as inline SVG: no axes library, so that colours follow the page into dark mode and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_RIGHT, _TOP, _BOTTOM = 8, 8, 32
_DIGIT_WIDTH = 6.4


@dataclass(frozen=True, slots=True)
class Line:
    """One polyline: (n,) x and y, the CSS classes that colour it, and whether its points carry dots."""

    x: Array
    y: Array
    css: str
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its range, the tick positions inside it, and its words ('' for none; a page's y axis shows none)."""

    low: float
    high: float
    ticks: tuple[float, ...]
    label: str = ""

    @classmethod
    def around(cls, values: Array, label: str = "", count: int = 4) -> Axis:
        """An axis with round ticks that contains all finite `values`; a constant gets room on both sides."""
        low, high = float(values.min()), float(values.max())
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            margin = abs(low) * 0.1 or 1.0
            low, high = low - margin, high + margin
        step = _round_step((high - low) / count)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(first * step, last * step, tuple(i * step for i in range(first, last + 1)), label)


def line_chart(lines: Sequence[Line], x: Axis, y: Axis, *, title: str, width: int = 240, height: int = 180) -> str:
    """An SVG chart of `width` x `height` user units; `title` is what a screen reader says."""
    left = round(8 + _DIGIT_WIDTH * max(len(format_tick(tick, y)) for tick in y.ticks))
    inner_w, inner_h = width - left - _RIGHT, height - _TOP - _BOTTOM

    def across(value: float) -> float:
        return (value - x.low) / (x.high - x.low) * inner_w

    def down(value: float) -> float:
        return (y.high - value) / (y.high - y.low) * inner_h

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for tick in y.ticks:
        top = _TOP + down(tick)
        parts.append(f'<path class="grid" d="M{left} {top:.1f}h{inner_w}"/>')
        parts.append(f'<text x="{left - 6}" y="{top + 3.5:.1f}" text-anchor="end">{format_tick(tick, y)}</text>')
    base = _TOP + inner_h
    for tick in x.ticks:
        anchor = "end" if tick == x.high else "middle"
        at = left + across(tick) + (_RIGHT if anchor == "end" else 0)
        parts.append(f'<text x="{at:.1f}" y="{base + 14}" text-anchor="{anchor}">{format_tick(tick, x)}</text>')
    parts.append(f'<path class="axis" d="M{left} {base}h{inner_w}"/>')
    if x.label:
        centre = left + inner_w / 2
        parts.append(f'<text class="label" x="{centre}" y="{height - 4}" text-anchor="middle">{escape(x.label)}</text>')
    # The nested viewport clips what leaves the axes: spikes of a raw curve beyond the chosen range.
    parts.append(f'<svg x="{left}" y="{_TOP - 3}" width="{inner_w + 3}" height="{inner_h + 6}">')
    for line in lines:
        points = [(across(u), down(v) + 3) for u, v in zip(line.x.tolist(), line.y.tolist(), strict=True)]
        if len(points) > 1:
            path = " ".join(f"{u:.1f} {v:.1f}" for u, v in points)
            parts.append(f'<path class="line {escape(line.css)}" d="M{path}"/>')
        if line.dots or len(points) == 1:
            parts.extend(f'<circle class="{escape(line.css)}" cx="{u:.1f}" cy="{v:.1f}" r="2"/>' for u, v in points)
    parts.append("</svg></svg>")
    return "".join(parts)


def format_tick(value: float, axis: Axis) -> str:
    """A tick with as many digits as the step of its axis needs, thousands as k, extremes as powers of ten."""
    step = min((b - a for a, b in zip(axis.ticks, axis.ticks[1:], strict=False)), default=1.0)
    largest = max(abs(tick) for tick in axis.ticks)
    if abs(value) < step * 1e-6:
        return "0"
    if largest < 1e-2 or largest >= 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if largest >= 1e4:
        return f"{value / 1000:g}k"
    digits = next(digits for digits in range(12) if abs(round(step, digits) - step) < 1e-6 * step)
    return f"{value:.{digits}f}"


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
