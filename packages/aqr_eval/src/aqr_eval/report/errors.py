"""Kinds of mistakes: how many, and the AP that mending one kind alone would bring."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aqr_eval.analysis import ErrorAnalysis
from aqr_eval.report.charts import Axis
from aqr_eval.report.figures import Figure, RowPanel, submission_key
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.rows import Mark, Row

_LEAD = (
    "What mending one kind of mistake alone would bring. Localisation: the right class, too far off for the threshold "
    "but within twice of it. Class: near enough, wrong class. Both: wrong class and too far off. Duplicate: a surer "
    "prediction has the true box. Background: nothing is there. Missed: a true box that no prediction explains. The "
    "gains do not add up: AP is not linear in its mistakes."
)


def error_part(errors: Mapping[str, ErrorAnalysis]) -> Part:
    """Gain of mAP and number of mistakes per kind; per class in the tables."""
    names = list(errors)
    kinds = list(next(iter(errors.values())).total)
    costs = [[one.total[kind].cost for one in errors.values()] for kind in kinds]
    counts = [[float(one.total[kind].count) for one in errors.values()] for kind in kinds]
    panels = [
        RowPanel("mAP to be won", "by mending one kind", _rows(kinds, costs, ".3f"), _from_zero(costs)),
        RowPanel("Mistakes", "at 2 m, at whatever score", _rows(kinds, counts, ",.0f"), _from_zero(counts)),
    ]
    tables = [_total_table(errors, kinds), *(_class_table(name, one, kinds) for name, one in errors.items())]
    return Part("Mistakes", _LEAD, [Figure("mistakes", "", submission_key(names), panels, large=True)], tables)


def _rows(kinds: list[str], values: list[list[float]], form: str) -> list[Row]:
    return [
        Row(kind, [Mark(value, f"submission-{i}") for i, value in enumerate(row)], form)
        for kind, row in zip(kinds, values, strict=True)
    ]


def _from_zero(values: list[list[float]]) -> Axis:
    return Axis.around(np.array([0.0, *(value for row in values for value in row)]))


def _total_table(errors: Mapping[str, ErrorAnalysis], kinds: list[str]) -> PlainTable:
    several = len(errors) > 1
    head = [f"{column} {name}" if several else column for name in errors for column in ("number", "mAP to be won")]
    rows = [[kind, *(cell for one in errors.values() for cell in _cells(one, kind))] for kind in kinds]
    return PlainTable("All classes", ["Kind", *head], rows)


def _cells(errors: ErrorAnalysis, kind: str) -> tuple[str, str]:
    one = errors.total[kind]
    return f"{one.count:,}", f"{one.cost:.3f}"


def _class_table(name: str, errors: ErrorAnalysis, kinds: list[str]) -> PlainTable:
    rows = [
        [label.replace("_", " "), *(f"{found[kind].cost:.3f}" for kind in kinds)]
        for label, found in errors.classes.items()
    ]
    return PlainTable(f"{name}: AP to be won per class", ["Class", *kinds], rows)
