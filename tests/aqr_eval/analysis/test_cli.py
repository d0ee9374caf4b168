"""`aqr-eval analyze`: what it prints, writes, leaves out and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqr_eval import Submission
from aqr_eval.cli import main
from aqr_eval.ground_truth import write_ground_truth
from aqr_eval.submission import write_submission

PARTS = ("breakdown", "intervals", "errors", "calibration")


@pytest.fixture
def files(crowd, tmp_path: Path) -> list[str]:
    truth, submission = crowd
    write_ground_truth(tmp_path / "crowd.safetensors", replace(truth, name="the crowd"))
    write_submission(tmp_path / "ours.json", submission)
    return [str(tmp_path / "ours.json"), "--gt", str(tmp_path / "crowd.safetensors")]


def written_by(words: list[str], out: Path) -> dict:
    assert main(["analyze", *words, "--out", str(out)]) == 0
    return json.loads(out.read_text(), parse_constant=pytest.fail)


def test_everything_is_printed_and_written(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    written = written_by([*files, "--draws", "20", "--workers", "1"], tmp_path / "new" / "a.json")
    screen = capsys.readouterr().out
    assert screen.startswith("ours: the crowd, 12 samples") and "…" not in screen
    assert max(map(len, (line.rstrip() for line in screen.splitlines() if "Written" not in line))) <= 80
    for heading in (
        "by distance",
        "AP per class",
        "visibility: recall",
        "95% intervals, 20 draws of 4 scenes",
        "Mistakes at 2 m",
        "Cost in AP",
        "precision",
    ):
        assert heading in screen
    assert "The ground truth does not know: camera." in screen
    assert tuple(written)[3:] == PARTS and written["submission"] == "ours" and written["samples"] == 12
    whole, intervals = written["breakdown"]["whole"], written["intervals"]
    assert intervals["of"]["NDS"]["value"] == whole["nds"] and intervals["seed"] == 0
    assert written["errors"]["hits"] == round(sum(one["precision"] * one["count"] for one in _bins(written)))


def _bins(written: dict) -> list[dict]:
    return [one for one in written["calibration"]["total"]["bins"] if one["count"]]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone(files: list[str], tmp_path: Path, part: str) -> None:
    written = written_by([*files, "--only", part, "--draws", "5"], tmp_path / "a.json")
    assert [name for name in PARTS if name in written] == [part]


def test_tables_know_the_cameras(
    tiny_dataroot: Path, make_boxes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = make_boxes({"sample": [0], "translation": [[10.0, 5.0, 1.0]], "detection_score": [0.5]})
    write_submission(tmp_path / "ours.json", Submission(("t0", "t1", "t2"), found, {}))
    split = ["--dataroot", str(tiny_dataroot), "--version", "v1.0-mini", "--split", "mini_val"]
    written = written_by([str(tmp_path / "ours.json"), *split], tmp_path / "a.json")
    screen = capsys.readouterr().out
    assert "camera" not in written["breakdown"]["unknown"] and "No intervals: mini_val of v1.0-mini has one" in screen
    assert [group["label"] for group in written["breakdown"]["groups"]["visibility"]] == ["80-100 %"]


def test_what_cannot_be_had_is_said_or_refused_if_it_was_asked_for(
    crowd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, submission = crowd
    unnamed = replace(truth, scenes=(), descriptions={}, name="the crowd")
    write_ground_truth(tmp_path / "crowd.safetensors", unnamed)
    logits = replace(submission, boxes=replace(submission.boxes, score=submission.boxes.score * 3 - np.pi))
    write_submission(tmp_path / "ours.json", logits)
    files = [str(tmp_path / "ours.json"), "--gt", str(tmp_path / "crowd.safetensors")]
    written = written_by(files, tmp_path / "a.json")
    screen = " ".join(capsys.readouterr().out.split())
    assert "No intervals: the crowd does not say which scene a sample belongs to" in screen
    assert "No calibration: A score of" in screen and written["intervals"] is written["calibration"] is None
    assert "does not know: scene, camera." in screen and written["breakdown"]["unknown"] == ["scene", "camera"]
    for options in (["--only", "intervals"], ["--only", "calibration"], ["--draws", "9"]):
        assert main(["analyze", *files, *options]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and ("which scene" in error or "no probability" in error)
    assert written_by([*files, "--draws", "0"], tmp_path / "b.json")["intervals"] is None


def test_faults_are_one_sentence(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([files[0], f"other={files[0]}", *files[1:]], "An analysis is of one submission and 2 are named"),
        ([*files, "--out", str(tmp_path)], "is a folder: name the file"),
        (files[1:], "No submission is named"),
    ):
        assert main(["analyze", *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
