"""Whether a score of 0.7 means that seven in ten are right: precision over score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aqr_eval.analysis import Calibration, Reliability
from aqr_eval.report.charts import Axis, Line
from aqr_eval.report.figures import Figure, LinePanel, submission_key
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.tables import number

_UNIT = (0.0, 0.5, 1.0)
_LEAD = (
    "Predictions in bins of their score: a point lies at their mean score and at the share of them that match within "
    "2 m. On the dashed line scores are what they claim to be, below it they are too sure. ECE is the mean distance "
    "to the line, weighted by predictions, most of which score low."
)


def calibration_part(calibrations: Mapping[str, Calibration], names: list[str]) -> Part:
    """One panel for all classes and one for each; `names` are all submissions, whose order gives the colours."""
    shown = [(names.index(name), one) for name, one in calibrations.items()]
    panels = [_panel("all classes", [(i, one.total) for i, one in shown])]
    panels += [
        _panel(label.replace("_", " "), [(i, one.classes[label]) for i, one in shown]) for label in shown[0][1].classes
    ]
    tables = [_ece_table(calibrations), *(_bin_table(name, one.total) for name, one in calibrations.items())]
    return Part("Calibration", _LEAD, [Figure("calibration", "", submission_key(names), panels)], tables)


def _panel(heading: str, found: list[tuple[int, Reliability]]) -> LinePanel:
    lines = [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "ideal")]
    for i, one in found:
        filled = [bin_ for bin_ in one.bins if bin_.count]
        score, precision = (np.array([getattr(b, name) for b in filled]) for name in ("mean_score", "precision"))
        lines.append(Line(score, precision, f"submission-{i}", dots=True))
    note = "ECE " + " / ".join(number(one.ece) for _, one in found)
    return LinePanel(heading, note, lines, Axis(0, 1, _UNIT, "score"), Axis(0, 1, _UNIT, "precision"))


def _ece_table(calibrations: Mapping[str, Calibration]) -> PlainTable:
    rows = [["all classes", *(number(one.total.ece) for one in calibrations.values())]]
    for label in next(iter(calibrations.values())).classes:
        rows.append([label.replace("_", " "), *(number(one.classes[label].ece) for one in calibrations.values())])
    return PlainTable("Expected calibration error", ["Class", *calibrations], rows)


def _bin_table(name: str, reliability: Reliability) -> PlainTable:
    rows = [
        [f"{b.low:g} to {b.high:g}", f"{b.count:,}", number(b.mean_score), number(b.precision)]
        for b in reliability.bins
    ]
    return PlainTable(f"{name}: all classes", ["Score", "predictions", "mean score", "precision"], rows)
