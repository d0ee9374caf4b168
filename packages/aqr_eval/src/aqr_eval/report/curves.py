"""Small multiples: precision over recall for every class, and the training log for every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.report.charts import Axis, Line
from aqr_eval.report.figures import Figure, LinePanel, submission_key
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


def precision_recall(metrics: Mapping[str, DetectionMetrics]) -> list[Figure]:
    """All submissions, averaged over the distances, where there are several; then each at every distance."""
    figures = []
    names = list(metrics)
    distances = next(iter(metrics.values())).config.dist_ths
    if len(names) > 1:
        title = "Submissions compared, mean over the four distances"
        panels = [_compared(metrics, label, distances) for label in DETECTION_CLASSES]
        figures.append(Figure("precision_recall", title, submission_key(names), panels))
    for i, (name, one) in enumerate(metrics.items()):
        key = [(f"submission-{i} within-{j}", f"within {distance:g} m") for j, distance in enumerate(distances)]
        title = f"{name}, at each distance" if len(names) > 1 else ""
        panels = [_at_distances(one, i, label, distances) for label in DETECTION_CLASSES]
        figures.append(Figure(f"precision_recall_{i + 1}" if title else "precision_recall", title, key, panels))
    return figures


def training(runs: Mapping[str, Mapping[str, Series]], colors: Mapping[str, int]) -> Figure:
    """One panel per known scalar that any run logged; `colors` maps a run to the colour of its submission."""
    panels = []
    for panel in _PANELS:
        found = {run: series for run, log in runs.items() if (series := _find(log, panel.scalar)) is not None}
        if found:
            panels.append(_training_panel(panel, found, colors))
    key = [(f"submission-{colors[run]}", run) for run in runs] if len(runs) > 1 else []
    return Figure("training", "", key, panels, large=True)


def _training_panel(panel: _Panel, runs: Mapping[str, Series], colors: Mapping[str, int]) -> LinePanel:
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
    return LinePanel(panel.heading, "last " + " / ".join(last), lines, x, Axis.around(np.concatenate(shown)))


def _compared(metrics: Mapping[str, DetectionMetrics], label: str, distances: Sequence[float]) -> LinePanel:
    lines = []
    for i, one in enumerate(metrics.values()):
        curves = [one.curves[label, distance] for distance in distances]
        precision = np.mean([curve.precision for curve in curves], axis=0)
        lines.append(_reached(curves[0].recall, precision, f"submission-{i}"))
    aps = " / ".join(number(one.mean_dist_aps[label]) for one in metrics.values())
    return _recall_panel(label, f"AP {aps}", lines)


def _at_distances(metrics: DetectionMetrics, index: int, label: str, distances: Sequence[float]) -> LinePanel:
    lines = []
    for j, distance in enumerate(distances):
        curve = metrics.curves[label, distance]
        lines.append(_reached(curve.recall, curve.precision, f"submission-{index} within-{j}"))
    return _recall_panel(label, f"AP {number(metrics.mean_dist_aps[label])}", lines)


def _reached(recall: Array, precision: Array, css: str) -> Line:
    """The curve up to the largest recall reached: the zeros beyond it are no measurements."""
    end = np.flatnonzero(precision).max(initial=-1) + 1
    return Line(recall[:end], precision[:end], css)


def _recall_panel(label: str, note: str, lines: Sequence[Line]) -> LinePanel:
    return LinePanel(label.replace("_", " "), note, lines, Axis(0, 1, _UNIT, "recall"), Axis(0, 1, _UNIT, "precision"))


def _find(log: Mapping[str, Series], scalar: str) -> Series | None:
    """The series of that name, or the one below a prefix; the exact name wins."""
    if scalar in log:
        return log[scalar]
    return next((series for name, series in log.items() if name.endswith("/" + scalar)), None)
