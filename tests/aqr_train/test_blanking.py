"""Prediction without a sensor."""

from __future__ import annotations

import pytest

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_train.blanking import SENSORS, without_sensor


@pytest.mark.parametrize(("sensor", "drop"), [("camera", "CameraDrop"), ("lidar", "LidarDrop")])
def test_the_drop_comes_first_and_the_rest_stays(sensor, drop):
    dataset = load_config("cmt_tiny")["data"]["val"]
    before = dict(dataset)
    blanked = without_sensor(dataset, sensor)
    assert blanked["pipeline"] == [{"type": drop, "seed": 0}, *dataset["pipeline"]]
    assert {key: value for key, value in blanked.items() if key != "pipeline"} == {
        key: value for key, value in before.items() if key != "pipeline"
    }
    assert dict(dataset) == before


def test_a_sensor_that_does_not_exist():
    with pytest.raises(ConfigError, match="no sensor 'radar' to leave out; give one of camera, lidar"):
        without_sensor({"pipeline": []}, "radar")


@pytest.mark.parametrize(
    ("sensor", "config", "loader"),
    [
        ("camera", "cmt_lidar_voxel0075_cbgs", "LoadMultiViewImageFromFiles"),
        ("lidar", "cmt_camera_vov_1600x640_cbgs", "LoadPointsFromFile"),
    ],
)
def test_a_sensor_that_the_model_does_not_use(sensor, config, loader):
    with pytest.raises(ConfigError, match=f"has no {loader}, so with .*Drop nothing would change"):
        without_sensor(load_config(config)["data"]["val"], sensor)
    (other,) = set(SENSORS) - {sensor}
    assert without_sensor(load_config(config)["data"]["val"], other)
