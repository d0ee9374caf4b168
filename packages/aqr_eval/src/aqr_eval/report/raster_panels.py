"""The panels of a figure on a sheet: curves over two axes, and rows of bars or intervals; lengths in points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aqr_eval.report.charts import Axis, Line, format_tick
from aqr_eval.report.colors import SUBMISSION_COLORS
from aqr_eval.report.figures import LinePanel, Panel, RowPanel
from aqr_eval.report.raster import Point, Raster, text_width
from aqr_eval.report.rows import Mark, Row, write_value

INK, MUTED, RULE = "#17212c", "#5d6b7a", "#dfe5eb"  # as in style.css
_SENSOR_COLORS = {"sensor-lidar": "#d08a00", "sensor-camera": "#1f78c8"}
_OPACITY = {"within-0": 1.0, "within-1": 0.72, "within-2": 0.48, "within-3": 0.28, "raw": 0.3}
_HEAD, _FOOT = 26.0, 28.0  # above the axes: heading and note; below them: ticks and the axis' words
_PLOT_HEIGHT, _MARK_HEIGHT, _ROW_GAP, _VALUE_ROOM = 120.0, 11.0, 6.0, 34.0
_SMALL, _NORMAL = 7.5, 9.0


@dataclass(frozen=True)
class Style:
    """What the style sheet makes of the classes of a mark."""

    color: str = MUTED
    opacity: float = 1.0
    width: float = 1.3
    dash: Point | None = None

    @classmethod
    def of(cls, css: str) -> Style:
        """The classes are separated by blanks."""
        found: dict[str, object] = {}
        for word in css.split():
            kind, _, number = word.partition("-")
            if kind == "submission":
                found["color"] = SUBMISSION_COLORS[int(number)]
            elif word in _SENSOR_COLORS:
                found["color"] = _SENSOR_COLORS[word]
            elif word in _OPACITY:
                found["opacity"] = _OPACITY[word]
            elif word == "ideal":
                found |= {"width": 1.0, "dash": (4.0, 3.0)}
        return cls(**found)  # type: ignore[arg-type]  # each under its own name


def panel_height(panel: Panel) -> float:
    """Height that `draw_panel` fills."""
    inner = _PLOT_HEIGHT if isinstance(panel, LinePanel) else sum(map(_row_height, panel.rows))
    return _HEAD + inner + _FOOT


def draw_panel(sheet: Raster, panel: Panel, corner: Point, width: float, *, first: bool) -> None:
    """Draws below and to the right of `corner`; the `first` of a line also names its y axis, to the left of it."""
    left, top = corner
    if first and isinstance(panel, LinePanel):
        sheet.upward_text((left - 6, top + _HEAD + _PLOT_HEIGHT / 2), panel.y.label, _SMALL, MUTED)
    sheet.text((left, top + 9), panel.heading, _NORMAL, INK, bold=True)
    sheet.text((left, top + 20), panel.note, _SMALL, MUTED)
    if isinstance(panel, LinePanel):
        _draw_lines(sheet, panel, (left, top + _HEAD), width)
    else:
        _draw_rows(sheet, panel, (left, top + _HEAD), width)


def _draw_lines(sheet: Raster, panel: LinePanel, corner: Point, width: float) -> None:
    ticks = [format_tick(tick, panel.y) for tick in panel.y.ticks]
    left = corner[0] + max(text_width(tick, _SMALL) for tick in ticks) + 5
    right, top, bottom = corner[0] + width - 6, corner[1], corner[1] + _PLOT_HEIGHT
    across = _scale(panel.x, left, right)
    up = _scale(panel.y, bottom, top)
    for tick, text in zip(panel.y.ticks, ticks, strict=True):
        sheet.line([(left, up(tick)), (right, up(tick))], RULE, 0.7)
        sheet.text((left - 4, up(tick)), text, _SMALL, MUTED, anchor="rm")
    sheet.line([(left, bottom), (right, bottom)], MUTED, 0.7)
    _draw_x_axis(sheet, panel.x, across, bottom)
    for line in panel.lines:
        _draw_line(sheet, line, across, up, panel.y)


def _draw_line(
    sheet: Raster, line: Line, across: Callable[[float], float], up: Callable[[float], float], y: Axis
) -> None:
    style = Style.of(line.css)
    inside = np.clip(line.y, y.low, y.high)  # spikes of a raw curve end at the frame
    points = [(across(u), up(v)) for u, v in zip(line.x.tolist(), inside.tolist(), strict=True)]
    sheet.line(points, style.color, style.width, opacity=style.opacity, dash=style.dash)
    if line.dots or len(points) == 1:
        for point in points:
            sheet.dot(point, 1.8, style.color, opacity=style.opacity)


def _draw_rows(sheet: Raster, panel: RowPanel, corner: Point, width: float) -> None:
    """Rows from top to bottom, their marks below one another, values beside them."""
    left = corner[0] + max((text_width(row.label, _SMALL + 0.5) for row in panel.rows), default=0.0) + 8
    top, bottom = corner[1], corner[1] + sum(map(_row_height, panel.rows))
    across = _scale(panel.x, left, corner[0] + width - _VALUE_ROOM)
    for tick in panel.x.ticks:
        sheet.line([(across(tick), top), (across(tick), bottom)], MUTED if tick == 0 else RULE, 0.7)
    _draw_x_axis(sheet, panel.x, across, bottom)
    for row in panel.rows:
        middle = top + _row_height(row) / 2
        sheet.text((left - 6, middle), row.label, _SMALL + 0.5, INK, anchor="rm")
        for number, mark in enumerate(row.marks):
            at = top + _ROW_GAP / 2 + (number + 0.5) * _MARK_HEIGHT
            _draw_mark(sheet, mark, across, at, row.form)
        top += _row_height(row)


def _draw_mark(sheet: Raster, mark: Mark, across: Callable[[float], float], at: float, form: str) -> None:
    if math.isnan(mark.value):
        sheet.text((across(0.0) + 4, at), "-", _SMALL, MUTED, anchor="lm")
        return
    style, place = Style.of(mark.css), across(mark.value)
    if mark.interval is None:
        sheet.rectangle((across(0.0), at - 3.8), (place, at + 3.8), style.color)
        end = max(place, across(0.0))
    else:
        low, high = map(across, mark.interval)
        sheet.line([(low, at), (high, at)], style.color, style.width)
        for whisker in (low, high):
            sheet.line([(whisker, at - 2.5), (whisker, at + 2.5)], style.color, style.width)
        sheet.dot((place, at), 2.6, style.color)
        end = max(place, high)
    sheet.text((end + 4, at), write_value(mark.value, form), _SMALL, INK, anchor="lm")


def _draw_x_axis(sheet: Raster, axis: Axis, across: Callable[[float], float], bottom: float) -> None:
    for tick in axis.ticks:
        sheet.text((across(tick), bottom + 10), format_tick(tick, axis), _SMALL, MUTED, anchor="ms")
    middle = (across(axis.low) + across(axis.high)) / 2
    sheet.text((middle, bottom + 21), axis.label, _SMALL, MUTED, anchor="ms")


def _scale(axis: Axis, start: float, end: float) -> Callable[[float], float]:
    """Values of the axis to places from `start` to `end`, what lies beyond at the ends."""

    def place(value: float) -> float:
        share = (min(max(value, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
        return start + share * (end - start)

    return place


def _row_height(row: Row) -> float:
    return _MARK_HEIGHT * len(row.marks) + _ROW_GAP
