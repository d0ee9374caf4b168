"""The section about what an AQR model weighs."""

from __future__ import annotations

import copy
import json

import pytest

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.report.frames import FrameRequest
from aqr_eval.report.weights import weight_part
from aqr_eval.report.weights_file import read_weights

NO_FRAMES = FrameRequest(0, 0)


def weight(mean):
    return {"mean": mean, "std": 0.1, "quantiles": [mean - 0.2, mean - 0.1, mean, mean + 0.1, mean + 0.2]}


GROUP = {
    "queries": 40,
    "lidar": weight(0.25),
    "camera": weight(-0.25),
    "prefer_lidar": 0.75,
    "prefer_camera": 0.25,
    "leaning": 0.0,
    "lidar_mass": [0.5, 0.7],
}
ANALYSIS = {
    "format": "aqr-routing",
    "version": 1,
    "quantile_levels": [0.05, 0.25, 0.5, 0.75, 0.95],
    "variant": {"name": "v3", "bounds": [-1.0, 1.0], "neutral": 0.0, "scale": 2.5, "max_scale": 5.0},
    "rule": "all queries",
    "conditions": {
        "all sensors": {"counted": GROUP, "groups": {"class": {"traffic_cone": GROUP}, "light": {"unknown": GROUP}}},
        "no camera": {"counted": None, "groups": {"class": {}, "light": {}}},
    },
    "warnings": ["Bias scale 2.5 is high."],
}


@pytest.fixture
def write(tmp_path):
    def run(**changes):
        path = tmp_path / "weights.json"
        path.write_text(json.dumps(ANALYSIS | changes))
        return path

    return run


def test_means_and_middle_nine_tenths_reach_the_chart(write):
    part = weight_part({"v3": read_weights(write())})
    (figure,) = part.figures
    assert [panel.heading for panel in figure.panels] == ["Sensors that work", "Attention on LiDAR", "Class"]
    lidar, camera = figure.panels[2].rows[0].marks
    assert (lidar.value, camera.value) == (0.25, -0.25)
    assert lidar.interval == pytest.approx((0.05, 0.45)) and camera.interval == pytest.approx((-0.45, -0.05))
    assert figure.panels[1].lines[0].y.tolist() == [0.5, 0.7]
    assert "Warning: Bias scale 2.5 is high." in part.lead
    assert ["class: traffic cone", "40", "0.250", "−0.250", "75%", "60%"] in part.tables[0].rows


def test_a_run_without_counted_queries_is_left_out(write):
    analysis = read_weights(write())
    assert analysis.conditions["no camera"] is None
    rows = weight_part({"v3": analysis}).tables[0].rows
    assert [row[0] for row in rows] == ["all sensors", "class: traffic cone", "light: unknown"]


def test_page_has_the_section(build, write, tmp_path):
    page = build(weights={"v3": write()}, png=tmp_path / "charts", request=NO_FRAMES)
    assert 'id="aqr-weights"' in page and "sensor-camera" in page
    assert (tmp_path / "charts" / "weights.png").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"conditions": {}}, "is no weights.json"),
        ({"variant": {}}, "it lacks 'name'"),
        ({"quantile_levels": [0.5]}, "is no weights.json"),
    ],
)
def test_a_bad_file_is_named(write, changes, message):
    with pytest.raises(DataError, match=message):
        read_weights(write(**copy.deepcopy(changes)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="weights.json cannot be read .*behind --weights"):
        read_weights(tmp_path / "weights.json")
