"""Confidence intervals of every number, and paired differences to the first submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aqr_eval.analysis import Difference, Interval, Intervals
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.report.charts import Axis
from aqr_eval.report.figures import Figure, RowPanel, submission_key
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.rows import Mark, Row
from aqr_eval.report.tables import TP_HEADINGS

_SUMMARY = {"NDS": "NDS", "mAP": "mAP"}
_ERRORS = {key: f"m{name}" for key, (name, _) in TP_HEADINGS.items()}
_CLASSES = {name: name.replace("_", " ") for name in DETECTION_CLASSES}
_UNIT = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEAD = (
    "Other scenes would have given other numbers: {coverage:.0%} of {draws:,} draws of {scenes} scenes, with "
    "replacement, lie within an interval."
)
_PAIRED = " Differences are to {reference}, taken draw by draw: what makes a scene hard for all cancels out."


def interval_part(intervals: Mapping[str, Intervals], differences: Mapping[str, Mapping[str, Difference]]) -> Part:
    """The intervals, with whiskers, and the differences where there are several submissions."""
    names, first = list(intervals), next(iter(intervals.values()))
    lead = _LEAD.format(coverage=first.coverage, draws=first.draws, scenes=first.scenes)
    figures = [_figure("intervals", "", {name: one.of for name, one in intervals.items()}, names)]
    tables = [_interval_table(intervals)]
    if differences:
        lead += _PAIRED.format(reference=names[0])
        figures.append(_figure("differences", f"Differences to {names[0]}", differences, names))
        tables += [_difference_table(name, names[0], one) for name, one in differences.items()]
    return Part("Confidence intervals", lead, figures, tables)


def with_sign(value: float) -> str:
    """Three digits with a sign that is as wide as a digit."""
    return f"{value:+.3f}".replace("-", "−")


def _figure(name: str, title: str, found: Mapping[str, Mapping[str, Interval]], names: Sequence[str]) -> Figure:
    shown = [(i, found[one]) for i, one in enumerate(names) if one in found]
    form = ".3f" if name == "intervals" else "+.3f"
    key = [entry for entry in submission_key(names) if entry[1] in found]
    panels = []
    for heading, quantities in (("Scores", _SUMMARY), ("AP per class", _CLASSES), ("Mean errors", _ERRORS)):
        rows = [
            Row(label, [Mark(of[key].value, f"submission-{i}", (of[key].low, of[key].high)) for i, of in shown], form)
            for key, label in quantities.items()
        ]
        ends = [end for _, of in shown for key in quantities for end in (of[key].low, of[key].high)]
        unit = name == "intervals" and quantities is not _ERRORS
        axis = Axis(0, 1, _UNIT) if unit else Axis.around(np.array([0.0, *ends]))
        panels.append(RowPanel(heading, "", rows, axis))
    return Figure(name, title, key, panels, large=True)


def _interval_table(intervals: Mapping[str, Intervals]) -> PlainTable:
    rows = [
        [label, *(_between(one.of[key], f"{one.of[key].value:.3f}") for one in intervals.values())]
        for key, label in (_SUMMARY | _ERRORS | _CLASSES).items()
    ]
    return PlainTable("", ["Number", *intervals], rows)


def _difference_table(name: str, reference: str, differences: Mapping[str, Difference]) -> PlainTable:
    rows = []
    for key, label in (_SUMMARY | _ERRORS | _CLASSES).items():
        one = differences[key]
        rows.append([label, with_sign(one.value), with_sign(one.low), with_sign(one.high), f"{one.above:.1%}"])
    return PlainTable(f"{name} − {reference}", ["Number", "difference", "from", "to", "draws above 0"], rows)


def _between(interval: Interval, value: str) -> str:
    return f"{value} ({interval.low:.3f}–{interval.high:.3f})"
