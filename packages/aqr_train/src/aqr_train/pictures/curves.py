"""Curves of training runs: one panel for each thing that they log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from aqr_eval.report.scalars import Series, smooth, thin
from aqr_train.pictures.curve_panels import Panel, find_panels
from aqr_train.routing.figures import CAMERA_COLOR, LIDAR_COLOR

Log = Mapping[str, Series]

# The palette of Okabe and Ito (2008) without its yellow, which is too pale for a line.
RUN_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SENSORS = {"LiDAR": LIDAR_COLOR, "camera": CAMERA_COLOR}
Style = Literal["-", "--", ":", "-."]
_STYLES: tuple[Style, ...] = ("-", "--", ":", "-.")
_COLUMNS, _PANEL_IN = 3, (4.7, 2.9)
_POINTS = 2000  # more than the panel has pixels
_SMOOTHING = 0.05
_DOTS_UP_TO = 25


def draw_curves(logs: Mapping[str, Log]) -> Figure:
    """Draw every scalar that is known and that some run has.

    Args:
        logs: name of a run -> name of a scalar -> steps and values, as `read_scalars` gives them.
    """
    panels = find_panels(logs)
    rows = math.ceil(len(panels) / _COLUMNS)
    width, height = _COLUMNS * _PANEL_IN[0], rows * _PANEL_IN[1] + 0.8
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    last_step = max(float(steps[-1]) for log in logs.values() for steps, _ in log.values())
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, logs)
        axes.set_xlim(0, 1.02 * last_step)
    colors = [Line2D([], [], color=run_color(place), linewidth=2) for place in range(len(logs))]
    figure.legend(colors, list(logs), loc="outside upper left", ncols=min(len(logs), 4), frameon=False, fontsize=11)
    note = (
        f"Over updates of the optimiser. Noisy curves of more than {_DOTS_UP_TO} values: bold, the mean over "
        f"{100 * _SMOOTHING:.0f} % of all values around each; pale, as logged."
    )
    figure.supxlabel(note, fontsize=9, color="0.35")
    return figure


def run_color(place: int) -> str:
    """Of the run in this place of the list."""
    return RUN_COLORS[place % len(RUN_COLORS)]


def _draw_panel(axes: Axes, panel: Panel, logs: Mapping[str, Log]) -> None:
    """Colour tells runs apart, or the members of a panel where there is one run alone; then style tells members."""
    single = len(logs) == 1
    looks: dict[str, tuple[str, Style]] = {
        label: (_SENSORS.get(label, run_color(number)), "-") if single else ("", _STYLES[number % len(_STYLES)])
        for number, label in enumerate(panel.members)
    }
    drawn = [
        _draw_line(axes, panel, log[name], looks[label][0] or run_color(place), looks[label][1])
        for place, log in enumerate(logs.values())
        for label, name in panel.members.items()
        if name in log
    ]
    shown = np.concatenate(drawn)
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    log = panel.log and bool((shown > 0).all())
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0e}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(which="both", labelsize=8)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _limit(axes, shown, log, panel.from_zero)
    if len(panel.members) > 1:
        handles = [Line2D([], [], color=color or "0.35", linestyle=style) for color, style in looks.values()]
        axes.legend(handles, list(looks), fontsize=7, framealpha=0.75, edgecolor="none", labelspacing=0.3)


def _draw_line(axes: Axes, panel: Panel, series: Series, color: str, style: Style) -> NDArray[np.float64]:
    """Draw a series; returns the values that the panel must hold."""
    steps, values = thin(series, _POINTS)
    values = panel.factor * values
    if not panel.noisy or len(values) <= _DOTS_UP_TO:
        marker = "o" if len(values) <= _DOTS_UP_TO else None
        axes.plot(steps, values, style, color=color, linewidth=1.6, marker=marker, markersize=3.5)
        return values
    mean = smooth(values, _SMOOTHING)
    axes.plot(steps, values, color=color, linewidth=0.7, alpha=0.25)
    axes.plot(steps, mean, style, color=color, linewidth=1.8)
    return np.concatenate([mean, np.percentile(values, [2, 98])])


def _limit(axes: Axes, shown: NDArray[np.float64], log: bool, from_zero: bool) -> None:
    """Single values far out, as of the first steps, do not flatten the rest."""
    low, high = float(shown.min()), float(shown.max())
    if log:
        axes.set_ylim(low / 1.3, high * 1.3)
        return
    low = min(low, 0.0) if from_zero else low
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_ylim(0.0 if from_zero and low == 0 else low - margin, high + margin)
