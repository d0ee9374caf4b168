"""How AQR weighs LiDAR and cameras: per failure, class and distance, and what the attention makes of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aqr_eval.report.charts import Axis, Line
from aqr_eval.report.figures import Figure, LinePanel, Panel, RowPanel
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.rows import Mark, Row, write_value
from aqr_eval.report.weights_file import QueryGroup, WeightAnalysis

_SENSORS = (("sensor-lidar", "LiDAR weight"), ("sensor-camera", "camera weight"))
_HEADINGS = {
    "class": "Class",
    "distance": "Distance from the vehicle",
    "cameras": "Cameras that see the reference point",
    "light": "Light",
    "weather": "Weather",
}
_UNIT = (0.0, 0.5, 1.0)
_LEAD = (
    "The weights of LiDAR and cameras per query: the mean, and whiskers around the middle nine tenths of the queries. "
    "Attention is the share of the cross-attention on LiDAR tokens; cameras hold the rest."
)


def weight_part(analyses: Mapping[str, WeightAnalysis]) -> Part:
    """Charts and a table for every analysis, and its warnings."""
    lead = _LEAD
    for name, one in analyses.items():
        lead += f" {name} is AQR {one.variant}; counted are {one.rule}."
        lead += "".join(f" Warning: {warning}" for warning in one.warnings)
    figures = [
        Figure(
            "weights" if len(analyses) == 1 else f"weights_{number_}",
            name if len(analyses) > 1 else "",
            _SENSORS,
            _panels(one),
            large=True,
        )
        for number_, (name, one) in enumerate(analyses.items(), start=1)
    ]
    return Part("AQR weights", lead, figures, [_table(name, one) for name, one in analyses.items()])


def _panels(analysis: WeightAnalysis) -> list[Panel]:
    groupings: dict[str, Mapping[str, QueryGroup]] = {
        "Sensors that work": {name: one for name, one in analysis.conditions.items() if one}
    }
    groupings |= {_HEADINGS.get(name, name): groups for name, groups in analysis.groups.items()}
    known = {name: groups for name, groups in groupings.items() if groups and set(groups) != {"unknown"}}
    axis = Axis.around(np.array(analysis.bounds))
    panels: list[Panel] = [RowPanel(name, "", _rows(groups), axis) for name, groups in known.items()]
    layers = [one.lidar_mass for one in analysis.conditions.values() if one]
    if layers:
        panels.insert(1, _attention(layers))
    return panels


def _rows(groups: Mapping[str, QueryGroup]) -> list[Row]:
    return [
        Row(
            name.replace("_", " "),
            [
                Mark(weight.mean, css, (weight.low, weight.high))
                for weight, (css, _) in zip((one.lidar, one.camera), _SENSORS, strict=True)
            ],
        )
        for name, one in groups.items()
    ]


def _attention(layers: list[tuple[float, ...]]) -> LinePanel:
    """One line per run, the one with all sensors strongest."""
    count = len(layers[0])
    lines = [
        Line(np.arange(1.0, count + 1), np.array(mass), f"sensor-lidar within-{place}", dots=True)
        for place, mass in enumerate(layers)
    ]
    x = Axis(1.0, max(2.0, count), tuple(float(layer) for layer in range(1, count + 1)), "decoder layer")
    return LinePanel("Attention on LiDAR", "all sensors strong, failures pale", lines, x, Axis(0, 1, _UNIT, "share"))


def _table(name: str, analysis: WeightAnalysis) -> PlainTable:
    rows = [_cells(condition, one) for condition, one in analysis.conditions.items() if one]
    for grouping, groups in analysis.groups.items():
        rows += [_cells(f"{grouping}: {group.replace('_', ' ')}", one) for group, one in groups.items()]
    return PlainTable(name, ["Queries", "number", "LiDAR", "camera", "prefer LiDAR", "attention on LiDAR"], rows)


def _cells(name: str, one: QueryGroup) -> list[str]:
    weights = [write_value(weight.mean, ".3f") for weight in (one.lidar, one.camera)]
    return [name, f"{one.queries:,}", *weights, f"{one.prefer_lidar:.0%}", f"{np.mean(one.lidar_mass):.0%}"]
