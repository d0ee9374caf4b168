"""Bars and points in named rows."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

from aqr_eval.report.charts import Axis
from aqr_eval.report.rows import Mark, Row, row_chart


def draw(rows, low=0.0, high=1.0):
    axis = Axis(low, high, tuple(sorted({low, 0.0, high})))
    root = ElementTree.fromstring(row_chart(rows, axis, title="a <title>"))
    zero = float(next(path for path in root.iter("path") if path.get("class") == "axis").get("d")[1:].split()[0])
    return root, zero


def test_bars_start_at_zero_and_reach_their_value():
    root, zero = draw([Row("half", [Mark(0.5, "submission-0")]), Row("minus", [Mark(-0.25, "submission-1")])], -1, 1)
    half, minus = root.iter("rect")
    per_unit = float(half.get("width")) * 2
    assert float(half.get("x")) == zero
    assert abs(float(minus.get("x")) + float(minus.get("width")) - zero) < 0.2
    assert abs(float(minus.get("width")) - per_unit / 4) < 0.2
    texts = [text.text for text in root.iter("text") if text.get("class") == "value"]
    assert texts == ["0.500", "−0.250"]


def test_points_lie_within_their_whiskers_and_what_is_undefined_is_a_dash():
    root, _ = draw([Row("a & b", [Mark(0.5, "submission-0", (0.25, 0.75)), Mark(math.nan, "submission-1")])])
    (point,) = root.iter("circle")
    (whisker,) = (path for path in root.iter("path") if "whisker" in path.get("class"))
    start = float(whisker.get("d")[1:].split()[0])
    end = float(whisker.get("d").split("H")[1].split("m")[0])
    assert abs((start + end) / 2 - float(point.get("cx"))) < 0.2
    words = [text.text for text in root.iter("text")]
    assert "a & b" in words and "–" in words and root.get("aria-label") == "a <title>"


def test_whiskers_end_at_the_axis():
    root, _ = draw([Row("wide", [Mark(0.5, "submission-0", (-3.0, 7.0))])])
    (whisker,) = (path for path in root.iter("path") if "whisker" in path.get("class"))
    assert 0 < float(whisker.get("d")[1:].split()[0]) and float(whisker.get("d").split("H")[1].split("m")[0]) < 400
