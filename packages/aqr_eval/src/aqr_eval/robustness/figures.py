"""A suite as pictures: NDS over severity for each corruption, and what is kept as a table in colours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from aqr_eval.report.colors import SUBMISSION_COLORS
from aqr_eval.robustness.run import RobustnessRun
from aqr_eval.robustness.scores import mean_resistance, resistance
from aqr_eval.whole_files import replacing

_INK, _MUTED, _RULE = "#17212c", "#5d6b7a", "#dfe5eb"
_COLUMNS = 5


def write_figures(folder: Path, runs: Mapping[str, RobustnessRun]) -> list[Path]:
    """`severities.png`, where a corruption has several, and `kept.png`.

    Args:
        folder: made if it is missing.
        runs: by name, of the same cells.
    """
    figures = {"kept.png": draw_kept(runs)}
    if any(len(cells) > 1 for run in runs.values() for cells in run.by_corruption.values()):
        figures = {"severities.png": draw_severities(runs), **figures}
    for name, figure in figures.items():
        with replacing(folder / name) as temporary:
            figure.savefig(temporary, format="png", dpi=130)
    return [folder / name for name in figures]


def draw_severities(runs: Mapping[str, RobustnessRun]) -> Figure:
    """A panel per corruption: NDS over severity, from 0, the clean test, on; a colour per model."""
    corruptions = list(dict.fromkeys(name for run in runs.values() for name in run.by_corruption))
    columns = min(_COLUMNS, len(corruptions))
    rows = math.ceil(len(corruptions) / columns)
    figure = Figure(figsize=(2.3 * columns + 0.4, 2.1 * rows + 0.8), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    figure.suptitle("NDS over severity; 0 is the clean test", x=0.01, ha="left", fontsize=11, color=_INK)
    for axes, name in zip(grid.ravel(), corruptions, strict=False):
        axes.set_title(name.replace("_", " "), loc="left", fontsize=9, color=_INK)
        severities = sorted({cell.severity for run in runs.values() for cell in run.by_corruption.get(name, ())})
        for number, run in enumerate(runs.values()):
            cells = [run.clean, *run.by_corruption.get(name, ())]
            color = SUBMISSION_COLORS[number % len(SUBMISSION_COLORS)]
            axes.plot([c.severity for c in cells], [c.nds for c in cells], color=color, marker="o", ms=3.5, lw=1.5)
        axes.set_xticks([0, *severities])
        axes.grid(axis="y", color=_RULE, linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=_MUTED, length=0)
    for axes in grid.ravel()[len(corruptions) :]:
        axes.set_axis_off()
    grid[0, 0].set_ylim(0, None)
    for axes in grid[:, 0]:
        axes.set_ylabel("NDS", fontsize=8.5, color=_MUTED)
    if len(runs) > 1:
        lines = grid[0, 0].get_lines()
        figure.legend(lines, list(runs), loc="outside lower left", ncols=len(runs), frameon=False, fontsize=9)
    return figure


def draw_kept(runs: Mapping[str, RobustnessRun]) -> Figure:
    """A row per corruption and one for their mean, a column per model: the share of the clean NDS that is kept (RA)."""
    corruptions = list(dict.fromkeys(name for run in runs.values() for name in run.by_corruption))
    columns = [
        [*(resistance(run).get(name, math.nan) for name in corruptions), mean_resistance(run)] for run in runs.values()
    ]
    shares = np.array(columns).T  # (corruptions + 1, models)
    labels = [*(name.replace("_", " ") for name in corruptions), "mean (mRA)"]
    figure = Figure(figsize=(3.4 + 1.2 * len(runs), 0.27 * len(labels) + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto", alpha=0.75)
    for (row, column), share in np.ndenumerate(shares):
        text = "-" if math.isnan(share) else f"{share:.3f}"
        weight = "bold" if row == len(corruptions) else "normal"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=_INK, weight=weight)
    axes.axhline(len(corruptions) - 0.5, color="white", linewidth=3)
    axes.set_yticks(range(len(labels)), labels, fontsize=9, color=_INK)
    axes.set_xticks(range(len(runs)), list(runs), fontsize=9, color=_INK)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.suptitle("Share of the clean NDS that is kept", x=0.01, ha="left", fontsize=11, color=_INK)
    return figure
