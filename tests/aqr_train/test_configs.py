"""Every shipped config loads and builds, and differs from its parent as its name says."""

from __future__ import annotations

from dataclasses import fields

import pytest

from aqr_core.config import SCHEMA, config_names, load_config
from aqr_core.data import Pipeline
from aqr_core.models import build_detector
from aqr_train.param_groups import build_grouping
from aqr_train.schedule import SCHEDULES, build_schedule
from aqr_train.settings import DataSettings, OptimizerSettings, TrainSettings, read_section

NAMES = sorted(config_names())


def test_the_package_ships_the_configs_of_the_readme() -> None:
    assert {
        "cmt_tiny",
        "cmt_aqr_tiny",
        "cmt_voxel0100_r50_800x320_cbgs",
        "cmt_voxel0100_r50_800x320_cbgs_metric",
        "cmt_voxel0075_vov_1600x640_cbgs",
        "cmt_lidar_voxel0075_cbgs",
        "cmt_camera_vov_1600x640_cbgs",
        "cmt_aqr_voxel0100_r50_800x320_cbgs",
        "cmt_aqr_voxel0075_vov_1600x640_cbgs",
        "cmt_aqr_v1_voxel0100_r50_800x320_cbgs",
        "cmt_aqr_v1_voxel0075_vov_1600x640_cbgs",
        "cmt_aqr_v2_voxel0100_r50_800x320_cbgs",
        "cmt_aqr_v2_voxel0075_vov_1600x640_cbgs",
        "cmt_aqr_v1_tiny",
        "cmt_aqr_v2_tiny",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_config_loads_and_builds(name: str) -> None:
    config = load_config(name)
    data, train = read_section(DataSettings, config, "data"), read_section(TrainSettings, config, "train")
    optimizer = read_section(OptimizerSettings, config, "optimizer")
    for dataset in (data.train, data.val):
        Pipeline(dataset["pipeline"])
    build_schedule(config.schedule, train.total_steps(100))
    grouping = build_grouping(
        build_detector(config.model), optimizer.lr, optimizer.weight_decay, optimizer.param_groups
    )
    assert sum(len(group.names) for group in grouping.groups) > 100


@pytest.mark.parametrize("name", NAMES)
def test_config_says_how_to_run_it(name: str) -> None:
    text = config_names()[name].read_text()
    assert text.startswith('"""') and f"aqr_train {name}" in text and "Hardware:" in text and "esult" in text


def test_the_schema_of_the_loader_is_that_of_the_trainer() -> None:
    for section, cls in (("data", DataSettings), ("optimizer", OptimizerSettings), ("train", TrainSettings)):
        assert set(SCHEMA[section] or ()) == {item.name for item in fields(cls)}
    of_schedules = {item.name for cls in SCHEDULES.values() for item in fields(cls)} - {"total_steps"}
    assert set(SCHEMA["schedule"] or ()) == of_schedules | {"type"}
