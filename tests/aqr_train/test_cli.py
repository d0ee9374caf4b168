"""The verbs of `aqr` from nothing to a score, on two synthetic scenes."""

from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from aqr_core.config import config_names
from aqr_core.data.database import ObjectDatabase
from aqr_core.infos import open_infos
from aqr_eval import Submission, load_submission
from aqr_train.cli import main
from aqr_train.diagnosis import diagnose
from aqr_train.truth import ground_truth_from_infos, ground_truth_of

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared synthetic dataset with a scene for training and one for validation."""
    root = tmp_path_factory.mktemp("cli") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", VERSION]) == 0
    return root


@pytest.fixture(scope="module")
def on_data(dataroot: Path) -> list[str]:
    """Options that put the tiny config on this dataset, with few parts and steps."""
    return [
        "--cfg-options",
        f"dataroot={dataroot}",
        "data.train.infos=infos_mini_train.jsonl",
        "data.val.infos=infos_mini_val.jsonl",
        "data.num_workers=0",
        "data.batch_size=1",
        "train.max_steps=2",
        "train.log_every=1",
    ]


def test_infos_hold_the_truth_of_the_tables(dataroot: Path) -> None:
    infos = open_infos(dataroot / "infos_mini_val.jsonl")
    tables, own = ground_truth_of(infos, dataroot), ground_truth_from_infos(infos)
    rows = []
    for truth in (tables, own):
        boxes = truth.boxes
        columns = zip(
            boxes.sample, boxes.translation.round(4), boxes.label, boxes.num_pts, boxes.attribute, strict=True
        )
        rows.append(sorted((truth.tokens[sample], *centre, *rest) for sample, centre, *rest in columns))
    assert rows[0] == rows[1]


def assert_same_boxes(found: Submission, expected: Submission) -> None:
    assert found.tokens == expected.tokens and found.meta == expected.meta
    for name, column in vars(expected.boxes).items():
        np.testing.assert_array_equal(getattr(found.boxes, name), column, strict=True)


@pytest.mark.parametrize(
    ("words", "usage"),
    [(["analyze-weights", "cmt_aqr_tiny"], "--config CONFIG"), (["show", "weights", "--out", "a"], "--frame I")],
)
def test_an_argument_too_many_is_told_with_the_usage_of_its_verb(
    words: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--checkpoint", "cmt_tiny", "--nothing", "1"])
    said = capsys.readouterr().err
    assert usage in said and "unrecognized arguments: " in said and "--nothing 1" in said


@pytest.mark.slow
def test_train_predict_and_score(dataroot: Path, on_data: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "cmt_aqr_tiny_scratch", "--work-dir", str(run), *on_data]) == 0
    records = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    names = set().union(*records)
    assert {"train/loss_cls", "train/loss_bbox", "aqr/bias_scale", "aqr/prefer_lidar", "val/mAP", "val/NDS"} <= names
    assert "Bias scale" in (run / "log.txt").read_text()

    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["predict", str(run), "--out", str(first)]) == 0
    assert main(["test", "cmt_aqr_tiny_scratch", str(run), "--out", str(second), *on_data]) == 0
    folders, expected = (first, second, run / "val" / "2"), load_submission(first / "submission.json")
    assert len({(folder / "submission.json").read_bytes() for folder in folders}) == 1
    for folder in folders:
        assert_same_boxes(load_submission(folder / "submission.safetensors"), expected)
    assert {path.name for path in first.iterdir()} == {"submission.json", "submission.safetensors", "latency.json"}
    metrics = json.loads((second / "metrics.json").read_text())
    last = {name.removeprefix("val/"): value for record in records for name, value in record.items() if "val/" in name}
    assert all(metrics[name] == value or math.isnan(value) for name, value in last.items())

    config = (run / "config.py").read_bytes()
    assert (
        main(["train", "cmt_aqr_tiny_scratch", "--work-dir", str(run), "--resume", *on_data, "train.max_steps=1"]) == 0
    )
    assert "nothing is left to do" in (run / "log.txt").read_text() and (run / "config.py").read_bytes() == config

    other = ["predict", "cmt_tiny", str(run), "--out", str(tmp_path / "third"), *on_data]
    assert main(other) == 2 and not (tmp_path / "third").exists()


def test_without_a_sensor(
    dataroot: Path, on_data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network sees blank images or points, and everything written says so."""
    found = {}
    for sensor in ("camera", "lidar"):
        out = tmp_path / sensor
        words = ["test", "cmt_tiny", "cmt_tiny", "--without", sensor, "--out", str(out), *on_data]
        assert main(words) == 0
        assert json.loads((out / "metrics.json").read_text())["without"] == sensor
        meta = json.loads((out / "submission.json").read_text())["meta"]
        assert meta[f"use_{sensor}"] is False and meta["use_camera"] is not meta["use_lidar"]
        assert f"keyframes without {sensor}" in capsys.readouterr().out
        found[sensor] = load_submission(out / "submission.safetensors").boxes
    with_both = tmp_path / "both"
    assert main(["predict", "cmt_tiny", "cmt_tiny", "--out", str(with_both), *on_data]) == 0
    boxes = load_submission(with_both / "submission.json").boxes
    assert not any(np.array_equal(boxes.score, one.score) for one in found.values())
    with pytest.raises(SystemExit):
        main(["predict", "cmt_tiny", "cmt_tiny", "--without", "radar", "--out", str(with_both)])
    assert "choose from" in capsys.readouterr().err


def test_doctor_is_content_with_prepared_data_and_not_without(
    dataroot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--dataroot", str(dataroot)]) == 0
    assert main(["doctor", "--dataroot", str(tmp_path)]) == 1
    assert main(["doctor", "--dataroot", str(tmp_path / "absent")]) == 1
    (tmp_path / "infos_val.jsonl").write_text("{}\n")
    assert main(["doctor", "--dataroot", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "sparse convolution" in shown and "torch on cpu" in shown


def child_of_cmt_tiny(folder: Path, backbone: str) -> Path:
    config = folder / "child.py"
    base = config_names()["cmt_tiny"]
    config.write_text(f"_base_ = '{base}'\nmodel = dict(pts_backbone=dict(type='{backbone}'))\n")
    return config


def test_doctor_builds_the_model_of_a_config(tmp_path: Path) -> None:
    assert main(["doctor", "--config", "cmt_aqr_tiny"]) == 0
    config = child_of_cmt_tiny(tmp_path, "SECONDD")
    assert main(["doctor", "--config", str(config)]) == 1
    assert "Did you mean 'SECOND'" in diagnose(None, str(config))[-1].found


@pytest.mark.skipif(find_spec("mmdet3d") is not None, reason="is about an environment without mmdet3d")
def test_doctor_names_the_library_that_a_config_needs(tmp_path: Path) -> None:
    config = child_of_cmt_tiny(tmp_path, "mmdet3d.SECOND")
    assert main(["doctor", "--config", str(config)]) == 1
    found = diagnose(None, str(config))[-1].found
    assert found.startswith("Model type 'mmdet3d.SECOND' needs mmdet3d") and "run `make mmdet3d`" in found


def test_prepare_cuts_the_objects_of_training_splits_out(dataroot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare = ["prepare", "--dataroot", str(dataroot), "--version", VERSION]
    assert main([*prepare, "--gt-database", "--workers", "1"]) == 0
    database = ObjectDatabase.open(dataroot / "gt_database_mini_train")
    assert database.has_images and not (dataroot / "gt_database_mini_val").exists()
    cars = (database.labels == 0).sum()
    shown = capsys.readouterr().out
    assert any(line.split()[1::2][:2] == ["car", str(cars)] for line in shown.splitlines() if " car " in line)
    without = [*prepare, "--gt-database", "--workers", "1", "--no-images"]
    assert main(without) == 0
    assert ObjectDatabase.open(dataroot / "gt_database_mini_train").has_images  # what is there serves
    shutil.rmtree(dataroot / "gt_database_mini_train")
    assert main(without) == 0
    assert not ObjectDatabase.open(dataroot / "gt_database_mini_train").has_images

    assert main([*prepare, "--no-images"]) == 2
    assert main([*prepare, "--gt-database", "--splits", "mini_val"]) == 2
    shown = capsys.readouterr().err
    assert "give --gt-database too" in shown and "none of the splits mini_val has 'train' in its name" in shown


def test_errors_are_one_sentence_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--dataroot", str(tmp_path), "--version", VERSION]) == 2
    assert main(["train", "cmt_tny", "--work-dir", str(tmp_path / "x")]) == 2
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 2 and "Traceback" not in shown and "Did you mean 'cmt_tiny'" in shown


def test_debug_shows_the_traceback_from_either_side_of_the_verb(tmp_path: Path) -> None:
    words = ["train", "cmt_tny", "--work-dir", str(tmp_path / "x")]
    for with_debug in ([*words, "--debug"], ["--debug", *words]):
        with pytest.raises(ValueError, match="cmt_tny"):
            main(with_debug)


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("train", "predict", "test", "synth", "prepare", "doctor"):
        with pytest.raises(SystemExit) as stopped:
            main([verb, "--help"])
        assert stopped.value.code == 0
    assert "--dry-run" in capsys.readouterr().out
