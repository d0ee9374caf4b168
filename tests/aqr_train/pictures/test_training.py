"""When training draws, and what it concludes from the pictures."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from aqr_core.errors import ConfigError
from aqr_train.callbacks.pictures import AqrPictures
from aqr_train.pictures.scene import ScenePixels
from aqr_train.settings import TrainSettings


@pytest.mark.parametrize(("name", "weight", "warns"), [("pedestrian", 0.6, 1), ("pedestrian", 0.4, 0), ("bus", 0.6, 0)])
def test_a_small_class_that_leans_on_lidar_is_warned_about_once(scene, caplog, name, weight, warns):
    """Four pictures with ten found objects each; from the second on there are twenty to judge by."""
    points = [[float(x), 20.0, 0.0] for x in range(10)]
    one = replace(scene(points, weights=[[weight, 0.0]] * 10), class_names=(name,))
    pictures = AqrPictures(ScenePixels(np.zeros(3), np.ones(3), ("CAM_FRONT",)))
    with caplog.at_level(logging.WARNING):
        pictures._judge(one)
        assert caplog.records == []
        for _ in range(3):
            pictures._judge(one)
    assert [record.message.startswith("100% of the pedestrian queries") for record in caplog.records] == [True] * warns


def test_a_resumed_run_goes_on_counting(scene, caplog):
    """Ten queries before the interruption and ten after it are the twenty that it takes to judge; then it is said."""
    one = replace(
        scene([[float(x), 20.0, 0.0] for x in range(10)], weights=[[0.6, 0.0]] * 10), class_names=("bicycle",)
    )
    states = [{}]
    for _ in range(3):
        pictures = AqrPictures(ScenePixels(np.zeros(3), np.ones(3), ("CAM_FRONT",)))
        pictures.load_state_dict(states[-1])
        pictures._judge(one)
        states.append(pictures.state_dict())
    assert len(caplog.records) == 1 and [state.get("found", {}).get("bicycle", 0) for state in states] == [
        0,
        10,
        20,
        30,
    ]


def test_a_number_of_steps_between_pictures_is_whole():
    with pytest.raises(ConfigError, match=r"train\.picture_every is -1; it must be a whole number from 0"):
        TrainSettings(max_steps=1, picture_every=-1)
