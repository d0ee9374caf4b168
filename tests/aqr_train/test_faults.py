"""The suites meet every kind of config: a cell strikes the sensors that it loads, or says that there are none."""

from __future__ import annotations

import pytest

from aqr_core.config import load_config
from aqr_core.data import Pipeline
from aqr_core.data.faults import SUITES, with_faults
from aqr_core.errors import ConfigError

SENSORS = {
    "cmt_tiny": {"lidar", "camera"},
    "cmt_voxel0100_r50_800x320_cbgs": {"lidar", "camera"},
    "cmt_lidar_voxel0075_cbgs": {"lidar"},
    "cmt_camera_vov_1600x640_cbgs": {"camera"},
}


@pytest.mark.parametrize("config", SENSORS)
@pytest.mark.parametrize("name", SUITES)
def test_every_cell_strikes_what_a_config_loads(config, name):
    val = load_config(config)["data"]["val"]
    plain = list(val["pipeline"])
    for cell in SUITES[name]:
        try:
            struck = with_faults(val, cell.steps)["pipeline"]
        except ConfigError as error:
            assert "nothing would change" in str(error) and len(SENSORS[config]) == 1
            continue
        Pipeline(struck)
        added = [step for step in struck if step not in plain]
        assert 0 < len(added) <= len(cell.steps)
        assert [step for step in struck if step in plain] == plain
        assert len(added) == len(cell.steps) or len(SENSORS[config]) == 1
