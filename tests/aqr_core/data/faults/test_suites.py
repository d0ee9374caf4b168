"""Every cell of every suite through a whole pipeline, and where its steps are put."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from aqr_core.data import collate
from aqr_core.data.faults import SUITES, suite, with_faults
from aqr_core.errors import ConfigError
from aqr_eval.nuscenes.classes import CAMERAS

CELLS = [(name, cell) for name, cells in SUITES.items() for cell in cells]
LIDAR = [dict(type="LoadPointsFromFile"), dict(type="LoadPointsFromMultiSweeps", sweeps_num=10)]
CAMERA = [
    dict(type="LoadMultiViewImageFromFiles"),
    dict(type="ResizeCropFlipImage", data_aug_conf=dict(final_dim=(320, 800)), training=False),
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage", size_divisor=32),
]
IDS = [f"{name}-{cell.name}-{cell.severity}" for name, cell in CELLS]


def same(a, b) -> bool:
    fields = ("points", "images", "lidar2img", "gt_boxes", "gt_labels")
    return a.faults == b.faults and all(
        torch.equal(getattr(a, name).nan_to_num(99), getattr(b, name).nan_to_num(99)) for name in fields
    )


@pytest.mark.parametrize(("name", "cell"), CELLS, ids=IDS)
def test_a_cell_changes_what_it_says_and_reports_it(dataset_of, name, cell):
    clean, faulty = dataset_of(whole=True), dataset_of(*cell.steps, whole=True)
    struck = 0
    for index in range(len(clean)):
        before, after = clean[index], faulty[index]
        assert (after.token, after.seed) == (before.token, before.seed)
        assert torch.equal(after.gt_labels, before.gt_labels)
        assert torch.equal(after.gt_boxes.nan_to_num(99), before.gt_boxes.nan_to_num(99))
        assert after.images.shape == before.images.shape
        assert torch.isfinite(after.points).all() and torch.isfinite(after.images).all()
        assert not before.faults
        assert {key.split("/")[0] for key in after.faults} <= {step["type"] for step in cell.steps}
        struck += not same(before, after)
    assert struck > 0
    assert (
        faulty[0].working == torch.tensor(["lidar" not in cell.sensors_lost, "camera" not in cell.sensors_lost])
    ).all()
    assert same(faulty[3], dataset_of(*cell.steps, whole=True)[3])


@pytest.mark.parametrize("name", ["occlusion", "camera_stuck_runs", "beam_reduction_4", "object_failure"])
def test_workers_change_nothing(dataset_of, name):
    (cell,) = (cell for cell in suite("nuscenes-r") if cell.name == name)
    dataset = dataset_of(*cell.steps, seed=5, whole=True)
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=collate)
    batches = list(loader)
    for at, batch in enumerate(batches):
        expected = [dataset[2 * at], dataset[2 * at + 1]]
        assert batch.faults == [sample.faults for sample in expected]
        assert torch.equal(batch.images, torch.stack([sample.images for sample in expected]))
        assert all(torch.equal(a, b.points) for a, b in zip(batch.points, expected, strict=True))
    assert batches[0].to("cpu").faults == batches[0].faults
    assert same(pickle.loads(pickle.dumps(dataset))[3], dataset[3])


def test_a_seed_is_another_draw(dataset_of):
    step = dict(type="PointsReduction", share=0.5)
    assert not same(dataset_of(step, seed=0)[3], dataset_of(step, seed=1)[3])
    assert same(dataset_of(step, seed=1)[3], dataset_of(dict(step, seed=1), seed=0)[3])


def test_what_the_suites_hold():
    assert list(SUITES) == ["nuscenes-r", "multicorrupt", "modality"]
    names = [cell.name for cell in suite("multicorrupt")]
    assert len(names) == 30 and all(names.count(name) == 3 for name in names)
    for cells in SUITES.values():
        assert len({(cell.name, cell.severity) for cell in cells}) == len(cells)
    rings = [cell.steps[0]["rings"] for cell in suite("multicorrupt") if cell.name == "beam_reduction"]
    assert [len(kept) for kept in rings] == [16, 8, 4] and rings[2] == (1, 9, 17, 25)
    assert set(rings[2]) < set(rings[1]) < set(rings[0])
    lost = {cell.name: cell.sensors_lost for cell in suite("modality")}
    assert lost["lidar_drop"] == ("lidar",) and lost["view_drop"] == ("camera",)
    assert {cameras for cameras in lost.values() if len(cameras) == 1} >= {(camera,) for camera in CAMERAS}
    assert {cell.name for cells in SUITES.values() for cell in cells if cell.differs} == {
        "beam_reduction_4",
        "occlusion",
        "snow",
    }


def test_an_unknown_suite():
    with pytest.raises(ConfigError, match="no suite 'multicorupt'; choose among nuscenes-r, multicorrupt"):
        suite("multicorupt")


def test_each_failure_goes_to_its_place():
    val = dict(type="NuScenesDataset", pipeline=[*LIDAR, *CAMERA])
    steps = [
        dict(type=name, **arguments)
        for name, arguments in (
            ("Dirt", {}),
            ("LimitedFov", {}),
            ("BeamReduction", dict(count=4)),
            ("Brightness", dict(gain=0.1)),
            ("StuckCameras", dict(probability=0.2)),
        )
    ]
    before = [dict(step) for step in val["pipeline"]]
    placed = [step["type"] for step in with_faults(val, steps, 3)["pipeline"]]
    assert placed == [
        "BeamReduction",
        "StuckCameras",
        "LoadPointsFromFile",
        "LoadPointsFromMultiSweeps",
        "LimitedFov",
        "LoadMultiViewImageFromFiles",
        "Dirt",
        "Brightness",
        "ResizeCropFlipImage",
        "NormalizeMultiviewImage",
        "PadMultiViewImage",
    ]
    assert [dict(step) for step in val["pipeline"]] == before
    assert with_faults(val, steps, 3)["pipeline"][0]["seed"] == 3
    assert with_faults(val, [], 3) == dict(val)


def test_a_detector_of_one_sensor_meets_what_strikes_it(caplog):
    lidar, camera = dict(pipeline=LIDAR), dict(pipeline=CAMERA)
    fog = next(cell for cell in suite("multicorrupt") if cell.name == "fog")
    with caplog.at_level(logging.WARNING):
        placed = with_faults(lidar, fog.steps)["pipeline"]
    assert [step["type"] for step in placed] == ["LidarFog", "LoadPointsFromFile", "LoadPointsFromMultiSweeps"]
    assert "ImageFog is left out: the pipeline has no LoadMultiViewImageFromFiles" in caplog.text
    with pytest.raises(ConfigError, match="no LoadMultiViewImageFromFiles, so with Dirt nothing would change"):
        with_faults(lidar, [dict(type="Dirt")])
    with pytest.raises(ConfigError, match="no LoadPointsFromFile, so with LimitedFov nothing would change"):
        with_faults(camera, [dict(type="LimitedFov")])


def test_steps_that_are_no_failures():
    val = dict(pipeline=[*LIDAR, *CAMERA])
    with pytest.raises(ConfigError, match="PointShuffle does not take 'seed'|PointShuffle is no sensor failure"):
        with_faults(val, [dict(type="PointShuffle")])
    with pytest.raises(ConfigError, match="Unknown transform type 'Dirtt'. Did you mean 'Dirt'"):
        with_faults(val, [dict(type="Dirtt")])


def test_other_draws_of_the_frame_stay_as_they_are(load):
    """A failure draws from its own generator, so the rest of the pipeline meets the numbers it met before."""
    for step in (dict(type="Dirt"), dict(type="PointsReduction", share=0.3), dict(type="StuckLidar", probability=1)):
        assert load(step).rng.uniform() == load().rng.uniform()


def test_frames_without_failures_carry_no_report(dataset_of):
    batch = collate([dataset_of()[0], dataset_of()[1]])
    assert batch.faults == [{}, {}]
    assert np.array_equal(batch.to("cpu").tokens, batch.tokens)
