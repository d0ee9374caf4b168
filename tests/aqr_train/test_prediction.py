"""What a results file says about the detector that wrote it, and which classes it names."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from aqr_core.checkpoint import CONFIG
from aqr_core.config import dump, load_config
from aqr_core.errors import ConfigError
from aqr_core.models import build_detector
from aqr_core.structures import Detections
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_train.assembly import check_classes
from aqr_train.inference import warn_of_other_aqr
from aqr_train.prediction import predict, sensors_used
from aqr_train.processes import start_accelerator
from aqr_train.settings import TrainSettings

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


@pytest.mark.parametrize(("sensor", "left"), [("camera", "use_lidar"), ("lidar", "use_camera")])
def test_a_blanked_sensor_is_not_used(sensor: str, left: str) -> None:
    used = sensors_used(build_detector(load_config("cmt_tiny").model), without=sensor)
    assert [name for name, value in used.items() if value] == [left]


class LastCar(nn.Module):
    """Finds one object of the dataset's last class in every sample."""

    def predict(self, batch: list[str]) -> list[Detections]:
        box = torch.tensor([[5.0, 0, 0, 4, 2, 1.5, 0, 0, 0]])
        return [Detections(token, box, torch.ones(1), torch.tensor([2])) for token in batch]


class TokenBatch(list[str]):
    def to(self, device: torch.device) -> TokenBatch:
        return self


class ThreeClasses:
    """Two samples whose labels count three classes in an order of their own."""

    classes = ("bus", "pedestrian", "car")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> str:
        return f"token{index}"

    def info(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(token=self[index], ego2global=np.eye(4), lidar=SimpleNamespace(lidar2ego=np.eye(4)))


def test_results_name_the_classes_that_the_dataset_counts() -> None:
    accelerator = start_accelerator(TrainSettings(max_steps=1))
    submission = predict(LastCar(), ThreeClasses(), TokenBatch, accelerator)
    assert [DETECTION_CLASSES[label] for label in submission.boxes.label] == ["car", "car"]
    assert submission.tokens == ("token0", "token1") and submission.boxes.sample.tolist() == [0, 1]


def test_a_model_with_other_classes_than_the_dataset_is_refused() -> None:
    config = load_config("cmt_tiny").model
    names = config.pts_bbox_head.tasks[0].class_names
    model = build_detector(config)
    check_classes(model, SimpleNamespace(classes=tuple(names)))
    check_classes(model, SimpleNamespace())
    with pytest.raises(ConfigError, match="scores the classes car, truck, .*but the dataset counts traffic_cone, ped"):
        check_classes(model, SimpleNamespace(classes=tuple(reversed(names))))


@pytest.mark.parametrize(
    ("trained", "config", "options", "said"),
    [
        ("cmt_aqr_v2_tiny", "cmt_aqr_v1_tiny", [], "was trained with modulator_config="),
        ("cmt_aqr_v2_tiny", "cmt_aqr_v2_tiny", [], ""),
        ("cmt_aqr_tiny", "cmt_aqr_tiny", ["model.pts_bbox_head.attention_bias_config.attention_backend=dense"], ""),
        ("cmt_aqr_tiny", "cmt_aqr_tiny", ["model.pts_bbox_head.attention_bias_config.window_size=3"], "window_size"),
    ],
)
def test_weights_of_another_setting_of_aqr_are_said_though_their_tensors_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trained: str, config: str, options: list[str], said: str
) -> None:
    (tmp_path / CONFIG).write_text(dump(load_config(trained)))
    with caplog.at_level(logging.WARNING):
        warn_of_other_aqr(load_config(config, options), tmp_path)
    assert said in caplog.text and bool(caplog.records) == bool(said)
