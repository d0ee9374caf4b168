from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from aqr_core.errors import ConfigError
from aqr_train.routing.collect import spread_indices
from aqr_train.routing.groups import (
    LIGHTS,
    WEATHERS,
    Counted,
    choose_counted,
    conditions_of,
    distance_names,
    group_queries,
    scene_conditions,
)

LOG = "n015-2018-07-18-11-07-57+0800"


@pytest.mark.parametrize(
    ("metres", "name"),
    [(0, "0-10 m"), (9.99, "0-10 m"), (10, "10-20 m"), (49.9, "40-50 m"), (50, "50+ m"), (300, "50+ m")],
)
def test_a_border_belongs_to_the_farther_group(make_queries, metres, name):
    assert _names(make_queries([0.0], distance_m=[metres]))["distance"] == [name]


def test_cameras_and_classes(make_queries):
    queries = make_queries([0.0] * 4, cameras=[0, 1, 2, 3], label=[1, 0, 1, 1], truth=[0, 1, 0, 0])
    names = _names(queries)
    assert names["cameras"] == ["none", "one", "two or more", "two or more"]
    assert names["class"] == ["car", "bus", "car", "car"]  # of the boxes they are matched with
    assert _names(queries, Counted("all", 0.0))["class"] == ["bus", "car", "bus", "bus"]  # their own


def test_light_and_weather_come_from_the_keyframe(make_queries):
    names = _names(make_queries([0.0] * 2, keyframe=[1, 0]))
    assert names["light"] == ["unknown", "night"] and names["weather"] == ["unknown", "dry"]


@pytest.mark.parametrize(
    ("description", "log", "light", "weather"),
    [
        ("Parked truck, construction, intersection", LOG, "day", "dry"),
        ("Night, difficult lighting, rain", LOG, "night", "rain"),
        ("Rain, many cars", LOG, "day", "rain"),
        ("Synthetic scene", "synthetic-scene-0003", "unknown", "unknown"),
        ("Synthetic night", "synthetic-scene-0003", "night", "unknown"),
    ],
)
def test_what_a_description_says(description, log, light, weather):
    assert conditions_of(description, log) == (LIGHTS.index(light), WEATHERS.index(weather))


def test_conditions_come_from_the_tables_and_are_unknown_without(tmp_path):
    dataset = _Split(tmp_path, ["scene-0001", "scene-0002", "scene-0001", ""])
    light, weather = scene_conditions(dataset, [0, 1, 3])
    assert {LIGHTS[i] for i in light} == {"unknown"} == {WEATHERS[i] for i in weather}
    folder = tmp_path / "v1.0-mini"
    folder.mkdir()
    scenes = [("scene-0001", "Night, rain"), ("scene-0002", "Bus stop")]
    rows = [{"name": name, "description": text, "log_token": "a"} for name, text in scenes]
    (folder / "scene.json").write_text(json.dumps(rows))
    (folder / "log.json").write_text(json.dumps([{"token": "a", "logfile": LOG}]))
    light, weather = scene_conditions(dataset, [0, 1, 3])
    assert [LIGHTS[i] for i in light] == ["night", "day", "unknown", "unknown"]  # the third was not asked for
    assert [WEATHERS[i] for i in weather] == ["rain", "dry", "unknown", "unknown"]


def test_which_queries_count(make_queries):
    queries = make_queries([0.0] * 3, score=[0.1, 0.2, 0.9], truth=[4, -1, -1])
    assert choose_counted(None, 0.2, annotated=True).rows(queries).tolist() == [True, False, False]
    assert choose_counted(None, 0.2, annotated=False) == Counted("confident", 0.2)
    confident = Counted("confident", float(np.float32(0.2)))
    assert confident.rows(queries).tolist() == [False, True, True]
    assert Counted("all", 0.2).rows(queries).all()
    assert "at least 0.2" in confident.sentence and "2 m" in Counted("matched", 0.2).sentence


def test_impossible_rules_are_errors():
    with pytest.raises(ConfigError, match="no annotated box to match .*use --queries confident or all"):
        choose_counted("matched", 0.2, annotated=False)
    with pytest.raises(ConfigError, match="--score is 2"):
        choose_counted(None, 2, annotated=True)


def test_a_limit_spreads_over_the_split():
    assert spread_indices(5, None) == spread_indices(5, 9) == [0, 1, 2, 3, 4]
    assert spread_indices(9, 3) == [0, 4, 8] and spread_indices(9, 1) == [0]
    with pytest.raises(ConfigError, match="--limit is 0"):
        spread_indices(9, 0)


class _Split:
    """Keyframes of some scenes."""

    def __init__(self, dataroot, scenes):
        self.dataroot, self.scenes = dataroot, scenes
        self.infos = SimpleNamespace(header=SimpleNamespace(dataset_version="v1.0-mini"))

    def __len__(self):
        return len(self.scenes)

    def info(self, index):
        return SimpleNamespace(scene=self.scenes[index])


def _names(queries, counted=None):
    """Grouping -> group of every query, of two keyframes: dry night, nothing known."""
    counted = counted or Counted("matched", 0.0)
    groupings = group_queries(queries, counted, ("car", "bus"), np.array([1, 2]), np.array([0, 2]))
    return {grouping.name: [grouping.groups[index] for index in grouping.member] for grouping in groupings}


def test_every_distance_has_a_name():
    assert distance_names() == ("0-10 m", "10-20 m", "20-30 m", "30-40 m", "40-50 m", "50+ m")
