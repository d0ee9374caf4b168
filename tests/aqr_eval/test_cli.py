from __future__ import annotations

import json

import pytest

from aqr_eval.cli import main
from aqr_eval.nuscenes.errors import AqrError


@pytest.fixture
def submission(tmp_path, write_results):
    car = {
        "translation": [10.1, 5.0, 1.0],
        "size": [2.0, 4.0, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [2.0, 0.0],
        "detection_name": "car",
        "detection_score": 0.9,
        "attribute_name": "vehicle.moving",
    }
    return write_results(tmp_path / "mine.json", {"t0": [car], "t1": [], "t2": []})


@pytest.fixture
def split(tiny_dataroot):
    return ["--dataroot", str(tiny_dataroot), "--version", "v1.0-mini", "--split", "mini_val"]


def test_score_one(submission, split, tmp_path, capsys):
    out = tmp_path / "metrics.json"
    assert main(["score", "--submission", str(submission), *split, "--out", str(out)]) == 0
    screen = capsys.readouterr().out
    # One of three cars found without a false one: precision 1 at the 23 points of recall 0.11 to 0.33, of 90.
    assert "mini_val of v1.0-mini, 3 samples" in screen
    assert " car " in screen and f"{23 / 90:.4f}" in screen and "construction_vehicle" in screen
    assert max(map(len, screen.splitlines())) <= 80
    metrics = json.loads(out.read_text())
    assert metrics["mean_dist_aps"]["car"] == pytest.approx(23 / 90)
    assert metrics["label_tp_errors"]["car"]["trans_err"] == pytest.approx(0.1)


def test_score_several(submission, split, tmp_path, capsys):
    out = tmp_path / "metrics.json"
    words = ["--submission", f"[a]={submission}", f"b={submission}"]
    assert main(["score", *words, *split, "--out", str(out)]) == 0
    assert json.loads(out.read_text()).keys() == {"[a]", "b"}
    assert "[a]: mini_val" in capsys.readouterr().out


def test_validate(submission, split, capsys):
    assert main(["validate", "--submission", str(submission)]) == 0
    assert "is valid: 3 samples, 1 boxes; checked format." in capsys.readouterr().out
    assert main(["validate", "--submission", str(submission), *split]) == 0
    assert "checked format and samples of mini_val" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["validate", "--submission", "none.json"], "none.json does not exist"),
        (["validate", "--submission", "{}", "--split", "mini_val"], "give --gt FILE, or --dataroot"),
        (["score", "--submission", "a={}", "a={}", "--dataroot", ".", "--version", "v", "--split", "s"], "'a' twice"),
        (["score", "--submission", "{}", "--dataroot", ".", "--version", "v", "--split", "val"], "'trainval'"),
    ],
)
def test_faults_are_one_sentence_and_exit_code_2(submission, capsys, words, message):
    words = [word.replace("{}", str(submission)) for word in words]
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("aqr-eval: ") and message in captured.err
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.err
    for with_debug in (["--debug", *words], [*words, "--debug"]):
        with pytest.raises(AqrError):
            main(with_debug)


def test_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0 and "report" in capsys.readouterr().out
