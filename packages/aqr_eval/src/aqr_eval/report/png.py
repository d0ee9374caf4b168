"""The charts of a report as PNG files, by matplotlib: for slides and papers, where no page can be shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from aqr_eval.report.colors import SUBMISSION_COLORS
from aqr_eval.report.figures import Figure, LinePanel, Panel, RowPanel
from aqr_eval.report.rows import write_value
from aqr_eval.whole_files import replacing

_DPI = 160
_INK, _MUTED, _RULE = "#17212c", "#5d6b7a", "#dfe5eb"
_OPACITY = {"within-0": 1.0, "within-1": 0.72, "within-2": 0.48, "within-3": 0.28, "raw": 0.3}  # as in style.css
_SENSOR_COLORS = {"sensor-lidar": "#d08a00", "sensor-camera": "#1f78c8"}  # likewise
_MARK_INCHES, _ROW_GAP_INCHES, _ROWS_WIDTH_INCHES = 0.15, 0.09, 3.2


def save_png(figure: Figure, heading: str, folder: Path) -> Path:
    """Writes `<folder>/<name>.png`, white; `heading` and the figure's own title stand above it."""
    columns = min(3 if figure.large else 5, len(figure.panels))
    starts = range(0, len(figure.panels), columns)
    heights = [max(map(_height, figure.panels[start : start + columns])) for start in starts]
    width = 4.6 if figure.large else 2.5
    canvas = Canvas(figsize=(width * columns, sum(heights) + 0.7), dpi=_DPI, layout="constrained")
    canvas.suptitle(f"{heading}: {figure.title}" if figure.title else heading, color=_INK, fontsize=12, weight="bold")
    grid = canvas.subplots(len(heights), columns, squeeze=False, height_ratios=heights).ravel()
    for axes, panel in zip(grid, figure.panels, strict=False):
        _draw(axes, panel)
        if isinstance(panel, LinePanel) and axes.get_subplotspec().is_first_col():
            axes.set_ylabel(panel.y.label, fontsize=8.5, color=_MUTED)
    for axes in grid[len(figure.panels) :]:
        axes.set_axis_off()
    if figure.key:
        handles = [grid[0].plot([], [], label=text, **_style(css))[0] for css, text in figure.key]
        canvas.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    path = folder / f"{figure.name}.png"
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="png")
    return path


def _height(panel: Panel) -> float:
    if isinstance(panel, LinePanel):
        return 2.4
    return max(1.6, 1.0 + _rows_inches(panel))  # less, and title, ticks and words would leave no room for the axes


def _rows_inches(panel: RowPanel) -> float:
    return sum(_MARK_INCHES * len(row.marks) + _ROW_GAP_INCHES for row in panel.rows)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.heading, loc="left", fontsize=9.5, weight="bold", color=_INK, pad=18 if panel.note else 6)
    axes.annotate(panel.note, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=8, color=_MUTED)
    axes.set_xlim(panel.x.low, panel.x.high)
    axes.set_xticks(panel.x.ticks)
    axes.set_xlabel(panel.x.label, fontsize=8.5, color=_MUTED)
    axes.tick_params(labelsize=8, colors=_MUTED, length=0)
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y" if isinstance(panel, LinePanel) else "x", color=_RULE, linewidth=0.8)
    if isinstance(panel, LinePanel):
        axes.spines["bottom"].set_visible(True)
        axes.spines["bottom"].set_color(_MUTED)
        axes.set_ylim(panel.y.low, panel.y.high)
        axes.set_yticks(panel.y.ticks)
        for line in panel.lines:
            style = _style(line.css)
            if line.dots or len(line.x) == 1:
                style |= {"marker": "o", "markersize": 3, "clip_on": False}  # a point at the edge stays round
            axes.plot(line.x, line.y, **style)
    else:
        _draw_rows(axes, panel)


def _draw_rows(axes: Axes, panel: RowPanel) -> None:
    """Rows from top to bottom, their marks below one another, values beside them; a row counts its marks and a gap."""
    gap = _ROW_GAP_INCHES / _MARK_INCHES
    axes.set_box_aspect(_rows_inches(panel) / _ROWS_WIDTH_INCHES)  # a row is as high in every panel
    axes.set_anchor("N")
    axes.axvline(0, color=_MUTED, linewidth=0.8)
    at, places = 0.0, []
    for row in panel.rows:
        for mark in row.marks:
            style = _style(mark.css)
            at += 0.5
            end = mark.value
            if mark.interval is None:
                axes.barh(at, mark.value, height=0.7, color=style["color"])
                end = max(end, 0.0)
            else:
                low, high = mark.interval
                reach = [[mark.value - low], [high - mark.value]]
                axes.errorbar(mark.value, at, xerr=reach, fmt="o", ms=4, capsize=2.5, **style)
                end = max(end, high)
            if math.isfinite(mark.value):
                text = write_value(mark.value, row.form)
                axes.annotate(text, (end, at), (4, 0), textcoords="offset points", va="center", fontsize=7, color=_INK)
            at += 0.5
        places.append(at - len(row.marks) / 2)
        at += gap
    axes.set_ylim(at - gap / 2, -gap / 2)
    axes.set_yticks(places, [row.label for row in panel.rows], color=_INK)


def _style(css: str) -> dict[str, Any]:
    """What the style sheet makes of the classes of a mark."""
    style: dict[str, Any] = {"color": _MUTED, "linewidth": 1.4}
    for word in css.split():
        kind, _, number = word.partition("-")
        if kind == "submission":
            style["color"] = SUBMISSION_COLORS[int(number)]
        elif word in _SENSOR_COLORS:
            style["color"] = _SENSOR_COLORS[word]
        elif word in _OPACITY:
            style["alpha"] = _OPACITY[word]
        elif word == "ideal":
            style |= {"linestyle": (0, (4, 3)), "linewidth": 1.0}
    return style
