"""The scores in groups of boxes: near and far, slow and fast, by night and in rain."""

from __future__ import annotations

import math
from collections.abc import Mapping

from aqr_eval.analysis import Breakdown, Group
from aqr_eval.report.charts import Axis
from aqr_eval.report.figures import Figure, RowPanel, submission_key
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.rows import Mark, Row
from aqr_eval.report.tables import number

_UNIT = (0.0, 0.25, 0.5, 0.75, 1.0)
_RECALL_M = 2.0
_HEADINGS = {
    "distance": "Distance from the vehicle",
    "speed": "Speed",
    "points": "LiDAR and radar points inside",
    "visibility": "Visible share",
    "scene": "Light and weather",
    "camera": "Camera that sees the centre",
}
_LEAD = (
    "The mean AP of the classes that a group holds; where only annotations have the property, as points and "
    "visibility, the share of true boxes found within 2 m at whatever score. Predictions are those of the whole "
    "evaluation: who took a true box belongs to its group, who took none to the group of what it says itself."
)
_UNKNOWN = " The ground truth does not know: {}."


def breakdown_part(breakdowns: Mapping[str, Breakdown]) -> Part:
    """One panel and one table per property; the classes have a section of their own."""
    first = next(iter(breakdowns.values()))
    names = list(breakdowns)
    found = {name: heading for name, heading in _HEADINGS.items() if first.groups.get(name)}
    panels = [_panel(name, heading, breakdowns) for name, heading in found.items()]
    tables = [_table(name, heading, breakdowns) for name, heading in found.items()]
    unknown = _UNKNOWN.format(", ".join(first.unknown)) if first.unknown else ""
    return Part(
        "Breakdown", _LEAD + unknown, [Figure("breakdown", "", submission_key(names), panels, large=True)], tables
    )


def camera_name(channel: str) -> str:
    """`CAM_FRONT_LEFT` in words; other labels stay as they are."""
    return channel.removeprefix("CAM_").replace("_", " ").lower() if channel.startswith("CAM_") else channel


def _has_ap(groups: tuple[Group, ...]) -> bool:
    return not all(math.isnan(group.mean_ap_present) for group in groups)


def _panel(name: str, heading: str, breakdowns: Mapping[str, Breakdown]) -> RowPanel:
    groups = [one.groups[name] for one in breakdowns.values()]
    with_ap = _has_ap(groups[0])
    rows = []
    for same in zip(*groups, strict=True):
        values = (group.mean_ap_present if with_ap else group.recall[_RECALL_M] for group in same)
        marks = [Mark(value, f"submission-{i}") for i, value in enumerate(values)]
        rows.append(Row(camera_name(same[0].label), marks))
    return RowPanel(heading, "mean AP" if with_ap else "recall within 2 m", rows, Axis(0, 1, _UNIT))


def _table(name: str, heading: str, breakdowns: Mapping[str, Breakdown]) -> PlainTable:
    several = len(breakdowns) > 1
    with_ap = _has_ap(next(iter(breakdowns.values())).groups[name])
    columns = (["mean AP", "NDS"] if with_ap else []) + ["recall"]
    head = [f"{column} {who}" if several else column for who in breakdowns for column in columns]
    rows = []
    for same in zip(*(one.groups[name] for one in breakdowns.values()), strict=True):
        cells = []
        for group in same:
            scores = [group.mean_ap_present, group.nds_present] if with_ap else []
            cells += [number(value) for value in (*scores, group.recall[_RECALL_M])]
        rows.append([camera_name(same[0].label), f"{same[0].true_boxes:,}", *cells])
    return PlainTable(heading, ["Group", "true boxes", *head], rows)
