"""The analysis as pictures, drawn from its statistics alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from aqr_eval.whole_files import replacing
from aqr_train.routing.analysis import WORKING, Analysis
from aqr_train.routing.statistics import BINS, Distribution, GroupStatistics

# Of the palette of Okabe and Ito (2008): safe for every colour vision, and apart in lightness too.
LIDAR_COLOR, CAMERA_COLOR = "#E69F00", "#0072B2"
_RUN_STYLES = (("#000000", "o"), ("#D55E00", "s"), ("#009E73", "^"))
_DPI = 130
_TITLES = {
    "class": "class",
    "distance": "distance of the predicted centre from the ego vehicle",
    "cameras": "number of cameras that see the query's reference point",
    "light": "light, by the scene's description",
    "weather": "weather, by the scene's description",
}


def save_figures(analysis: Analysis, folder: Path) -> list[Path]:
    """Write all pictures; a grouping of which nothing is known has none.

    Returns:
        the PNG files: `weights_histogram`, `attention`, and `weights_by_<grouping>`.
    """
    figures = {"weights_histogram": draw_histograms(analysis), "attention": draw_attention(analysis)}
    for grouping, groups in analysis.conditions[WORKING].groups.items():
        if groups and set(groups) != {"unknown"}:
            figures[f"weights_by_{grouping}"] = draw_groups(analysis, grouping)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        with replacing(written[-1]) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI)
    return written


def draw_groups(analysis: Analysis, grouping: str) -> Figure:
    """One panel per run: median, middle half and middle nine tenths of both weights for every group."""
    runs = {name: run.groups[grouping] for name, run in analysis.conditions.items()}
    names = list(dict.fromkeys(name for groups in runs.values() for name in groups))
    figure, panels = _figure(len(runs), height_in=1.7 + 0.42 * len(names))
    for axes, (run, groups) in zip(panels, runs.items(), strict=True):
        for row, name in enumerate(names):
            if name in groups:
                _draw_weight(axes, groups[name].lidar, row - 0.17, LIDAR_COLOR)
                _draw_weight(axes, groups[name].camera, row + 0.17, CAMERA_COLOR)
                count = f"{groups[name].queries}"
                axes.text(1.02, row, count, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color="0.3")
        axes.text(1.02, 1.03, "queries", transform=axes.transAxes, fontsize=8, color="0.3")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(labelleft=axes is panels[0])
        axes.set_title(run, fontsize=10)
        _label_weights(axes, analysis)
    drawn = [edge for axes in panels for edge in axes.dataLim.intervalx if np.isfinite(edge)]
    _share_limits(panels, [*drawn, analysis.variant.neutral])
    box = "black: median, box: middle half, line: 5 to 95 %"
    _key_of_weights(figure, f"query weights by {_TITLES[grouping]}\n{box}", analysis)
    return figure


def draw_histograms(analysis: Analysis) -> Figure:
    """One panel per run: how the weights of counted queries are spread."""
    runs = {name: run.counted for name, run in analysis.conditions.items()}
    figure, panels = _figure(len(runs), height_in=3.4)
    edges = np.linspace(*analysis.variant.bounds, BINS + 1)
    drawn = [analysis.variant.neutral]
    for axes, (run, group) in zip(panels, runs.items(), strict=True):
        if group is None:
            axes.text(0.5, 0.5, "no query counts", transform=axes.transAxes, ha="center")
        else:
            for weight, color in ((group.lidar, LIDAR_COLOR), (group.camera, CAMERA_COLOR)):
                shares = 100 * np.array(weight.histogram) / group.queries
                axes.stairs(shares, edges, fill=True, color=color, alpha=0.25)
                axes.stairs(shares, edges, color=color, linewidth=1.5)
                used = np.flatnonzero(shares)
                drawn += [edges[used[0]], edges[used[-1] + 1]]
        axes.set_title(f"{run} ({0 if group is None else group.queries} queries)", fontsize=10)
        _label_weights(axes, analysis)
    _share_limits(panels, drawn)
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    panels[0].set_ylabel("share of queries, %")
    _key_of_weights(figure, "distribution of the query weights", analysis)
    return figure


def draw_attention(analysis: Analysis) -> Figure:
    """Share of the cross-attention on LiDAR tokens: per decoder layer, and per class as the mean over the layers."""
    runs = analysis.conditions
    labels = list(dict.fromkeys(label for run in runs.values() for label in run.groups["class"]))
    figure = Figure(figsize=(10, max(3.6, 1.7 + 0.32 * len(labels))), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, ((name, run), (color, marker)) in enumerate(zip(runs.items(), _RUN_STYLES, strict=False)):
        shift = 0.2 * (place - (len(runs) - 1) / 2)
        for group, style, suffix in ((run.counted, "-", ""), (run.every, ":", ", all queries")):
            if group is not None:
                layers = range(1, len(group.lidar_mass) + 1)
                shares = [100 * share for share in group.lidar_mass]
                left.plot(layers, shares, style, color=color, marker=marker, markersize=5, label=name + suffix)
        found = [(row, run.groups["class"][label]) for row, label in enumerate(labels) if label in run.groups["class"]]
        right.plot([_layer_mean(group) for _, group in found], [row + shift for row, _ in found], marker, color=color)
    for head, per_layer in enumerate(zip(*runs[WORKING].head_mass, strict=True)):
        label = None if head else f"{WORKING}, all queries, single heads"
        layers = range(1, len(per_layer) + 1)
        left.plot(layers, [100 * share for share in per_layer], color="0.6", linewidth=0.9, zorder=1, label=label)
    left.set(xlabel="decoder layer", ylabel="attention on LiDAR tokens, %", ylim=(-3, 103))
    left.set_xticks(range(1, len(runs[WORKING].every.lidar_mass) + 1))
    left.grid(axis="y", alpha=0.3)
    right.set(xlabel="attention on LiDAR tokens, mean over the layers, %", xlim=(-3, 103))
    right.set_yticks(range(len(labels)), [label.replace("_", " ") for label in labels])
    right.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    right.grid(alpha=0.3)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=len(runs) + 1, fontsize=9, frameon=False
    )
    figure.suptitle("Where the cross-attention looks; image tokens hold the rest", fontsize=11)
    return figure


def _figure(panels: int, height_in: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(3.2 + 3.6 * panels, height_in), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _draw_weight(axes: Axes, weight: Distribution, y: float, color: str) -> None:
    low, lower, median, upper, high = weight.quantiles
    axes.plot([low, high], [y, y], color=color, linewidth=1.2, solid_capstyle="butt")
    axes.barh(y, upper - lower, height=0.26, left=lower, color=color, alpha=0.55, edgecolor=color)
    axes.plot([median, median], [y - 0.15, y + 0.15], color="black", linewidth=1.8, solid_capstyle="butt")


def _label_weights(axes: Axes, analysis: Analysis) -> None:
    axes.axvline(analysis.variant.neutral, color="0.45", linewidth=0.9, linestyle="--", zorder=0)
    axes.set_xlabel("weight")
    axes.locator_params(axis="x", nbins=4)  # room for -0.0005, as after a few steps
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _share_limits(panels: Sequence[Axes], drawn: Sequence[float]) -> None:
    """One scale of weights for all runs, that holds everything drawn."""
    low, high = min(drawn), max(drawn)
    margin = 0.05 * (high - low) or 0.1
    for axes in panels:
        axes.set_xlim(low - margin, high + margin)


def _key_of_weights(figure: Figure, title: str, analysis: Analysis) -> None:
    handles = [Patch(color=LIDAR_COLOR, label="LiDAR weight"), Patch(color=CAMERA_COLOR, label="camera weight")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    figure.suptitle(
        f"AQR {analysis.variant.name}: {title}; dashed: neutral ({analysis.variant.neutral:g})", fontsize=11
    )


def _layer_mean(group: GroupStatistics) -> float:
    return 100 * sum(group.lidar_mass) / len(group.lidar_mass)
