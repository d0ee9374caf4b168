"""Small multiples: precision over recall for every class, and the training log for every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.report.charts import Axis, Line, line_chart
from aqr_eval.report.scalars import Series, smooth, thin
from aqr_eval.report.tables import number

Array = NDArray[np.float64]

_UNIT = (0.0, 0.5, 1.0)
_RAW_POINTS, _DOTS_UP_TO = 400, 60


@dataclass(frozen=True, slots=True)
class _Panel:
    """What to plot of a log; the scalar may also stand below a prefix such as "aqr/"."""

    heading: str
    scalar: str
    noisy: bool = False
    from_zero: bool = False


_PANELS = (
    _Panel("Training loss", "train/loss", noisy=True),
    _Panel("Validation mAP", "val/mAP", from_zero=True),
    _Panel("Validation NDS", "val/NDS", from_zero=True),
    _Panel("Learning rate", "lr", from_zero=True),
    _Panel("AQR bias scale", "bias_scale"),
)


def precision_recall(metrics: Mapping[str, DetectionMetrics]) -> str:
    """One grid with every submission, averaged over the distances, where there are several; then one grid for each."""
    blocks = []
    names = list(metrics)
    distances = next(iter(metrics.values())).config.dist_ths
    if len(names) > 1:
        key = [(f"submission-{i}", name) for i, name in enumerate(names)]
        blocks.append("<h3>Submissions compared, precision averaged over the four distances</h3>" + _key(key))
        blocks.append(_grid([_compared(metrics, label, distances) for label in DETECTION_CLASSES]))
    for i, (name, one) in enumerate(metrics.items()):
        key = [(f"submission-{i} within-{j}", f"within {distance:g} m") for j, distance in enumerate(distances)]
        heading = f"<h3>{escape(name)}, at each distance</h3>" if len(names) > 1 else ""
        blocks.append(heading + _key(key) + _grid([_at_distances(one, i, c, distances) for c in DETECTION_CLASSES]))
    return "".join(blocks)


def training(runs: Mapping[str, Mapping[str, Series]], colors: Mapping[str, int]) -> str:
    """One panel per known scalar that any run logged; `colors` maps a run to the colour of its submission."""
    panels = []
    for panel in _PANELS:
        found = {run: series for run, log in runs.items() if (series := _find(log, panel.scalar)) is not None}
        if found:
            panels.append(_training_panel(panel, found, colors))
    key = _key([(f"submission-{colors[run]}", run) for run in runs]) if len(runs) > 1 else ""
    return f'{key}<div class="grid training">{"".join(panels)}</div>'


def _training_panel(panel: _Panel, runs: Mapping[str, Series], colors: Mapping[str, int]) -> str:
    lines: list[Line] = []
    shown = [np.zeros(1)] if panel.from_zero else []
    last = []
    for run, series in runs.items():
        steps, values = thin(series, _RAW_POINTS)
        css = f"submission-{colors[run]}"
        if panel.noisy:
            lines.append(Line(steps, values, f"{css} raw"))
            shown.append(np.percentile(values, [2, 98]))
            values = smooth(values)
        lines.append(Line(steps, values, css, dots=not panel.noisy and len(steps) <= _DOTS_UP_TO))
        shown.append(values)
        last.append(f"{series[1][-1]:.4g}")
    last_step = max(float(line.x[-1]) for line in lines) or 1.0
    ticks = Axis.around(np.array([0.0, last_step])).ticks
    x = Axis(0.0, last_step, tuple(tick for tick in ticks if tick <= last_step), "step")
    chart = line_chart(lines, x, Axis.around(np.concatenate(shown)), title=panel.heading, width=400, height=220)
    return _figure(panel.heading, "last " + " / ".join(last), chart)


def _compared(metrics: Mapping[str, DetectionMetrics], label: str, distances: Sequence[float]) -> str:
    lines = []
    for i, one in enumerate(metrics.values()):
        curves = [one.curves[label, distance] for distance in distances]
        precision = np.mean([curve.precision for curve in curves], axis=0)
        lines.append(_reached(curves[0].recall, precision, f"submission-{i}"))
    aps = " / ".join(number(one.mean_dist_aps[label]) for one in metrics.values())
    return _recall_panel(label, aps, lines)


def _at_distances(metrics: DetectionMetrics, index: int, label: str, distances: Sequence[float]) -> str:
    lines = []
    for j, distance in enumerate(distances):
        curve = metrics.curves[label, distance]
        lines.append(_reached(curve.recall, curve.precision, f"submission-{index} within-{j}"))
    return _recall_panel(label, number(metrics.mean_dist_aps[label]), lines)


def _reached(recall: Array, precision: Array, css: str) -> Line:
    """The curve up to the largest recall reached: the zeros beyond it are no measurements."""
    end = np.flatnonzero(precision).max(initial=-1) + 1
    return Line(recall[:end], precision[:end], css)


def _recall_panel(label: str, note: str, lines: Sequence[Line]) -> str:
    heading = label.replace("_", " ")
    chart = line_chart(lines, Axis(0, 1, _UNIT, "recall"), Axis(0, 1, _UNIT), title=f"Precision over recall, {heading}")
    return _figure(heading, note, chart)


def _figure(heading: str, note: str, chart: str) -> str:
    return f"<figure><figcaption>{escape(heading)}<span>{escape(note)}</span></figcaption>{chart}</figure>"


def _grid(panels: Sequence[str]) -> str:
    return f'<div class="grid">{"".join(panels)}</div>'


def _key(entries: Sequence[tuple[str, str]]) -> str:
    items = (f'<li><i class="stroke {css}"></i>{escape(text)}</li>' for css, text in entries)
    return f'<ul class="key">{"".join(items)}</ul>'


def _find(log: Mapping[str, Series], scalar: str) -> Series | None:
    """The series of that name, or the one below a prefix; the exact name wins."""
    if scalar in log:
        return log[scalar]
    return next((series for name, series in log.items() if name.endswith("/" + scalar)), None)
