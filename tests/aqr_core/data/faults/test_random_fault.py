"""Failures as training augmentation, and whole sensors that fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aqr_core.data import NuScenesDataset
from aqr_core.data.faults import RandomFault
from aqr_core.data.transforms import ModalMask3D
from aqr_core.errors import ConfigError

LOAD = [dict(type="LoadPointsFromFile"), dict(type="LoadMultiViewImageFromFiles")]
BEAMS = [dict(type="BeamReduction", count=count) for count in (4, 16)]


def test_it_strikes_now_and_then_by_any_of_its_failures(infos_path):
    step = dict(type="RandomFault", probability=0.5, faults=BEAMS)
    dataset = NuScenesDataset(infos_path.parent, infos_path, [step, LOAD[0]], seed=3)
    kept = []
    for epoch in range(20):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            report = dataset[index].faults
            kept.append(
                round(32 * report["BeamReduction/points_kept"] / report["BeamReduction/points"]) if report else 32
            )
    assert abs(np.mean(np.array(kept) == 32) - 0.5) < 0.15
    assert min(kept) < 8 < 12 < max(k for k in kept if k < 32)
    dataset.set_epoch(4)
    first = dataset[2]
    dataset[0]
    assert torch.equal(first.points, dataset[2].points)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_rest_of_the_pipeline_draws_what_it_drew(infos_path, probability):
    """It draws as much whether it strikes or not, so that its probability changes nothing else."""
    step = dict(type="RandomFault", probability=probability, faults=[dict(type="Brightness", gain=0.3)])
    steps = [LOAD[0], LOAD[1], step, dict(type="GlobalRotScaleTransAll")]
    points = [
        NuScenesDataset(infos_path.parent, infos_path, [*steps[:2], {**step, "probability": p}, steps[3]], seed=1)[
            2
        ].points
        for p in (probability, 0.5)
    ]
    assert torch.equal(*points)


def test_a_random_failure_goes_where_its_failures_go():
    fault = RandomFault(BEAMS, 0.5)
    assert (fault.sensor, fault.place) == ("lidar", fault.faults[0].place)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([], "got none"),
        ([*BEAMS, dict(type="Dirt")], "failures of one sensor and one place, got BeamReduction: before"),
        ([dict(type="PointShuffle")], "PointShuffle is no sensor failure"),
        ([dict(type="BeamReduction", beams=4)], "BeamReduction does not take 'beams'"),
    ],
)
def test_wrong_failures(faults, message):
    with pytest.raises(ConfigError, match=message):
        RandomFault(faults, 0.5)
    with pytest.raises(ConfigError, match="RandomFault: probability is 30"):
        RandomFault(BEAMS, 30)


@pytest.mark.parametrize(("drop", "modality"), [("LidarDrop", "points"), ("CameraDrop", "image")])
def test_a_dropped_sensor_is_a_masked_one(infos_path, load, drop, modality):
    dropped = load(dict(type=drop))
    dataset = NuScenesDataset(infos_path.parent, infos_path, [ModalMask3D(mask_modal=modality), *LOAD], test_mode=True)
    masked = dataset.frame(3)
    dataset.pipeline(masked)
    np.testing.assert_array_equal(np.stack(dropped.images), np.stack(masked.images))
    assert modality == "image" or (not dropped.points.any() and len(dropped.points) == len(masked.points))
    assert dropped.blank == {modality} and dropped.faults == {f"{drop}/dropped": 1}
