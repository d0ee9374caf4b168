"""Axes and the SVG of line charts."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from aqr_eval.report.charts import Axis, Line, format_tick, line_chart


@pytest.mark.parametrize(
    ("values", "low", "high", "texts"),
    [
        ([0, 1], 0, 1, ["0", "0.25", "0.50", "0.75", "1.00"]),
        ([1, 9], 0, 10, ["0", "2", "4", "6", "8", "10"]),
        ([0, 40_000], 0, 40_000, ["0", "10k", "20k", "30k", "40k"]),
        ([0, 2e-4], 0, 2e-4, ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]),
    ],
)
def test_ticks_are_round_and_read_well(values, low, high, texts):
    axis = Axis.around(np.array(values, dtype=float))
    assert (axis.low, axis.high) == pytest.approx((low, high))
    assert [format_tick(tick, axis) for tick in axis.ticks] == texts


@pytest.mark.parametrize("value", [0.0, 2.5, -3.0, 1e-5])
def test_a_constant_gets_room(value):
    axis = Axis.around(np.full(3, value))
    assert axis.low < value < axis.high


def test_chart_is_well_formed_and_escapes_words():
    unit = Axis(0, 1, (0.0, 1.0), "recall & <more>")
    lines = [Line(np.array([0.0, 1]), np.array([1.0, 0]), "submission-0"), Line(np.array([0.5]), np.array([0.5]), "a")]
    root = ElementTree.fromstring(line_chart(lines, unit, unit, title='a "title" <b>'))
    assert root.get("aria-label") == 'a "title" <b>'
    paths = [element.get("d") for element in root.iter("path") if "line" in element.get("class")]
    assert paths == ["M0.0 3.0 218.0 143.0"]
    assert len(list(root.iter("circle"))) == 1
