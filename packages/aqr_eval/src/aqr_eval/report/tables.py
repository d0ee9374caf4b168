"""The two score tables: one row per submission, and one row per class and submission."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.report.colors import class_index

# Metric key -> heading and what it measures, in the benchmark's order.
TP_HEADINGS: dict[str, tuple[str, str]] = {
    "trans_err": ("ATE", "translation, m"),
    "scale_err": ("ASE", "size, 1 − IoU"),
    "orient_err": ("AOE", "heading, rad"),
    "vel_err": ("AVE", "velocity, m/s"),
    "attr_err": ("AAE", "attribute, 1 − acc."),
}


def headline_table(metrics: Mapping[str, DetectionMetrics]) -> str:
    """mAP, NDS and the five mean TP errors, submissions as rows, differences to the first below the numbers."""
    columns = [("mAP", "average precision", True, [m.mean_ap for m in metrics.values()])]
    columns.append(("NDS", "detection score", True, [m.nd_score for m in metrics.values()]))
    for key, (name, meaning) in TP_HEADINGS.items():
        columns.append((f"m{name}", meaning, False, [m.tp_errors[key] for m in metrics.values()]))
    head = "".join(
        f'<th scope="col">{name}&#8239;{"↑" if higher else "↓"}<small>{escape(meaning)}</small></th>'
        for name, meaning, higher, _ in columns
    )
    rows = []
    for i, submission in enumerate(metrics):
        note = "<small>reference</small>" if i == 0 and len(metrics) > 1 else ""
        cells = (_headline_cell(name, values, i, higher) for name, _, higher, values in columns)
        rows.append(f'<tr><th scope="row">{_submission(i, submission)}{note}</th>{"".join(cells)}</tr>')
    return (
        f'<table class="headline"><thead><tr><th scope="col">Submission</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def class_table(metrics: Mapping[str, DetectionMetrics]) -> str:
    """True boxes, AP, AP at each distance and TP errors, grouped by class."""
    several = len(metrics) > 1
    reference = next(iter(metrics.values()))
    distances = reference.config.dist_ths
    head = "".join(f'<th scope="col">{distance:g}&#8239;m</th>' for distance in distances)
    head += "".join(f'<th scope="col" title="{escape(text)}">{name}</th>' for name, text in TP_HEADINGS.values())
    groups = []
    for label in DETECTION_CLASSES:
        true_count = reference.curves[label, distances[0]].num_gt
        columns = [(True, [m.mean_dist_aps[label] for m in metrics.values()])]
        columns += [(True, [m.label_aps[label][d] for m in metrics.values()]) for d in distances]
        columns += [(False, [m.label_tp_errors[label][key] for m in metrics.values()]) for key in TP_HEADINGS]
        rows = []
        for i, name in enumerate(metrics):
            first = (
                f'<th scope="rowgroup" rowspan="{len(metrics)}"><i class="swatch class-{class_index(label)}"></i>'
                f'{label.replace("_", " ")}</th><td rowspan="{len(metrics)}">{true_count:,}</td>'
            )
            who = f'<td class="who">{_submission(i, name)}</td>' if several else ""
            cells = "".join(
                _class_cell(values, i, higher, bar=column == 0) for column, (higher, values) in enumerate(columns)
            )
            rows.append(f"<tr>{first if i == 0 else ''}{who}{cells}</tr>")
        groups.append(f"<tbody>{''.join(rows)}</tbody>")
    who_head = '<th scope="col" class="who" rowspan="2">Submission</th>' if several else ""
    return (
        '<div class="wide"><table class="classes"><thead><tr><th scope="col" rowspan="2">Class</th>'
        f'<th scope="col" rowspan="2">True</th>{who_head}<th scope="col" rowspan="2" class="ap">AP&#8239;↑</th>'
        f'<th scope="colgroup" colspan="{len(distances)}">AP within&#8239;↑</th>'
        f'<th scope="colgroup" colspan="{len(TP_HEADINGS)}">Errors of true positives&#8239;↓</th></tr>'
        f"<tr>{head}</tr></thead>{''.join(groups)}</table></div>"
    )


def best_of(values: Sequence[float], higher: bool) -> set[int]:
    """Indices of the best finite values, ties included; empty when nothing stands out."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2 or min(finite) == max(finite):
        return set()
    best = max(finite) if higher else min(finite)
    return {i for i, value in enumerate(values) if value == best}


def number(value: float, digits: int = 3) -> str:
    """A fixed number of digits, a dash for NaN: the metric does not define the value for this class."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _submission(index: int, name: str) -> str:
    return f'<span class="name" title="{escape(name)}"><i class="swatch submission-{index}"></i>{escape(name)}</span>'


def _headline_cell(name: str, values: Sequence[float], index: int, higher: bool) -> str:
    """On a phone the cell names its column itself: the style sheet folds the rows and hides the head."""
    value, first = values[index], values[0]
    mark = ' class="best"' if index in best_of(values, higher) else ""
    difference = ""
    if index > 0 and math.isfinite(value - first):
        better = (value > first) == higher
        kind = "same" if value == first else "better" if better else "worse"
        difference = f'<small class="{kind}">{value - first:+.4f}</small>'.replace("-", "−", 1)
    return f'<td{mark} data-column="{name}"><b>{number(value, 4)}</b>{difference}</td>'


def _class_cell(values: Sequence[float], index: int, higher: bool, *, bar: bool) -> str:
    css = " ".join(["ap"] * bar + ["best"] * (index in best_of(values, higher)))
    attributes = f' class="{css}"' if css else ""
    style = f' style="--share:{100 * min(max(values[index], 0.0), 1.0):.1f}%"' if bar else ""
    return f"<td{attributes}{style}>{number(values[index])}</td>"
