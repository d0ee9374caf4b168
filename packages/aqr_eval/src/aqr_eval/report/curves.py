"""Small multiples: precision over recall for every class, and the training log for every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

# Heading, name of the scalar (also below a prefix such as "aqr/"), whether it is noisy enough to be smoothed.
_PANELS = (
    ("Training loss", "train/loss", True),
    ("Validation mAP", "val/mAP", False),
    ("Validation NDS", "val/NDS", False),
    ("Learning rate", "lr", False),
    ("AQR bias scale", "bias_scale", False),
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
    for heading, scalar, noisy in _PANELS:
        found = {run: series for run, log in runs.items() if (series := _find(log, scalar)) is not None}
        if found:
            panels.append(_training_panel(heading, found, noisy, colors))
    key = _key([(f"submission-{colors[run]}", run) for run in runs]) if len(runs) > 1 else ""
    return f'{key}<div class="grid training">{"".join(panels)}</div>'


def _training_panel(heading: str, runs: Mapping[str, Series], noisy: bool, colors: Mapping[str, int]) -> str:
    lines, shown, last = [], [], []
    for run, series in runs.items():
        steps, values = thin(series, _RAW_POINTS)
        css = f"submission-{colors[run]}"
        if noisy:
            lines.append(Line(steps, values, f"{css} raw"))
            values = smooth(values)
            shown.append(np.percentile(thin(series, _RAW_POINTS)[1], [2, 98]))
        lines.append(Line(steps, values, css, dots=not noisy and len(steps) <= _DOTS_UP_TO))
        shown.append(values)
        last.append(f"{series[1][-1]:.4g}")
    every_step = np.concatenate([line.x for line in lines])
    x = Axis.around(np.array([0.0, every_step.max()]), "step")
    x = Axis(0.0, float(every_step.max()) or 1.0, tuple(t for t in x.ticks if t <= every_step.max()), "step")
    chart = line_chart(lines, x, Axis.around(np.concatenate(shown)), title=heading, width=400, height=220)
    return _figure(heading, "last " + " / ".join(last), chart)


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
