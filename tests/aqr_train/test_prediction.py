"""What a results file says about the detector that wrote it."""

from __future__ import annotations

import pytest

from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_train.prediction import sensors_used

IMAGE_BRANCH = ("img_backbone", "img_neck")
LIDAR_BRANCH = ("pts_voxel_layer", "pts_voxel_encoder", "pts_middle_encoder", "pts_backbone", "pts_neck")


@pytest.mark.parametrize(
    ("head", "absent", "camera", "lidar"),
    [
        ("CmtHead", (), True, True),
        ("CmtLidarHead", IMAGE_BRANCH, False, True),
        ("CmtImageHead", LIDAR_BRANCH, True, False),
    ],
)
def test_a_missing_branch_is_a_sensor_not_used(head: str, absent: tuple[str, ...], camera: bool, lidar: bool) -> None:
    model = load_config("cmt_tiny").model
    model.pts_bbox_head.type = head
    model.update(dict.fromkeys(absent))
    used = sensors_used(build_detector(model))
    assert used == {
        "use_camera": camera,
        "use_lidar": lidar,
        "use_radar": False,
        "use_map": False,
        "use_external": False,
    }
