from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from aqr_core.data.database.build import build_object_database
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import build_infos
from aqr_core.synth import generate
from aqr_train.benchmarks import loader, mmdet3d_side
from aqr_train.benchmarks.loader_data import open_data
from aqr_train.benchmarks.loader_rounds import run_floor, run_round
from aqr_train.cli import main

CONFIG = "cmt_voxel0100_r50_800x320_cbgs"


def prepare(root: Path, keyframes: int) -> Path:
    generate(root, 1, 0, workers=1, keyframes=keyframes)
    infos = build_infos(root, "v1.0-mini", root, splits=["mini_train"])["mini_train"]
    build_object_database(root, infos, root / "gt_database_mini_train", workers=1)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A tiny scene with infos and object database."""
    return prepare(tmp_path_factory.mktemp("loader") / "data", keyframes=3)


@pytest.fixture(scope="module")
def data(root):
    return open_data(CONFIG, root, "infos_mini_train.jsonl", 5)


def test_keyframes_with_all_sweeps_only(data):
    """The first keyframe has no past; each of the others is taken once."""
    assert data.indices == (1, 2)
    assert len(data.database) > 0


def test_a_round_times_what_the_dataset_does(data):
    whole = run_round(data, 0)
    assert list(whole.seconds)[:2] == ["read infos", "ModalMask3D"]
    assert list(whole.seconds)[-2:] == ["to_sample", "collate"]
    assert whole.samples == 2
    assert sum(whole.seconds.values()) <= whole.total
    assert whole.points == len(data.dataset[2].points)
    assert set(run_floor(data).seconds) == {"read point files", "decode images"}


def test_report(root, capsys):
    arguments = ["--dataroot", str(root), "--infos", "infos_mini_train.jsonl", "--rounds", "1", "--samples", "1"]
    assert main(["benchmark", "loader", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "samples/s per core" in printed
    assert "UnifiedObjectSample" in printed
    assert "times the floor" in printed
    assert "Of our 1 samples" in printed


def test_a_transform_is_left_out(root):
    data = open_data(CONFIG, root, "infos_mini_train.jsonl", 5, ["ModalMask3D", "UnifiedObjectSample"])
    whole = run_round(data, 0)
    assert data.database is None
    assert not {"ModalMask3D", "UnifiedObjectSample"} & set(whole.seconds)
    assert not whole.blank
    with pytest.raises(ConfigError, match="'ModelMask3D', so do not leave it out. Did you mean 'ModalMask3D'"):
        open_data(CONFIG, root, "infos_mini_train.jsonl", 5, ["ModelMask3D"])


def test_blank_samples_are_counted(data):
    blank = [run_round(data, epoch).blank for epoch in range(12)]
    counts = {name: sum(each.get(name, 0) for each in blank) for name in ("image", "points")}
    assert all(0 < count < 24 for count in counts.values())


def test_records_name_files_that_exist(data):
    info = data.dataset.info(1)
    record = mmdet3d_side.record_of(info, data.dataset.dataroot)
    sweeps = [sweep["lidar_points"]["lidar_path"] for sweep in record["lidar_sweeps"]]
    images = [image["img_path"] for image in record["images"].values()]
    named = [record["lidar_points"]["lidar_path"], *sweeps, *images]
    assert len(sweeps) == len(info.sweeps) and len(images) == 6
    assert all(Path(name).is_absolute() and Path(name).is_file() for name in named)
    assert len(record["ann_info"]["gt_labels_3d"]) == (info.gt.num_lidar_pts > 0).sum()


def test_an_environment_without_mmdet3d(data):
    with (
        mmdet3d_side.Mmdet3dSide(sys.executable, data) as side,
        pytest.raises(ConfigError, match=r"No module named 'mmdet3d'.*make mmdet3d"),
    ):
        side.run_round()


def test_no_interpreter(data, tmp_path):
    with (
        pytest.raises(ConfigError, match="cannot be run.*make mmdet3d"),
        mmdet3d_side.Mmdet3dSide(tmp_path / "python", data),
    ):
        pass


def test_wrong_numbers():
    arguments = argparse.Namespace(samples=0, rounds=1)
    with pytest.raises(ConfigError, match="--samples 0 and --rounds 1"):
        loader.run(arguments)


def test_too_few_sweeps(tmp_path):
    prepare(tmp_path / "data", keyframes=1)
    with pytest.raises(DataError, match="No keyframe of .* lists 10 sweeps; prepare"):
        open_data(CONFIG, tmp_path / "data", "infos_mini_train.jsonl", 5)
