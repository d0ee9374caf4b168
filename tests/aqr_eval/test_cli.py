from __future__ import annotations

import json

import pytest

from aqr_eval.cli import main
from aqr_eval.nuscenes.errors import AqrError

CAR = {
    "translation": [10.1, 5.0, 1.0],
    "size": [2.0, 4.0, 1.5],
    "rotation": [1.0, 0.0, 0.0, 0.0],
    "velocity": [2.0, 0.0],
    "detection_name": "car",
    "detection_score": 0.9,
    "attribute_name": "vehicle.moving",
}


@pytest.fixture
def submission(tmp_path, write_results):
    return write_results(tmp_path / "mine.json", {"t0": [CAR], "t1": [], "t2": []})


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


def test_prepare_convert_and_score_two_plain_files(submission, split, tmp_path, capsys):
    """Neither tables nor JSON: the same numbers to the last bit."""
    gt, columns = tmp_path / "gt.safetensors", tmp_path / "mine.safetensors"
    assert main(["prepare", *split, "--out", str(gt)]) == 0
    assert "mini_val of v1.0-mini, 3 samples, 5 boxes" in capsys.readouterr().out
    assert main(["convert", str(submission), str(columns)]) == 0
    outs = [tmp_path / "a.json", tmp_path / "b.json"]
    assert main(["score", str(submission), *split, "--out", str(outs[0])]) == 0
    assert main(["score", str(columns), "--gt", str(gt), "--strict", "--out", str(outs[1])]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_score_a_part(submission, split, tmp_path, capsys):
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("t0\nt2\n")
    for words, count in ((["--first", "1"], 1), (["--tokens", str(tokens)], 2), (["--scene", "scene-0103"], 3)):
        assert main(["score", str(submission), *split, *words]) == 0
        assert f"{count} samples" in capsys.readouterr().out


def test_validate_notes_what_is_odd(tmp_path, write_results, capsys):
    odd = {
        "size": [0, 1, 1],
        "rotation": [0, 0, 0, 0],
        "detection_name": "barrier",
        "detection_score": 1.5,
        "num_pts": 0,
    }
    assert main(["validate", str(write_results(tmp_path / "odd.json", {"t0": [], "t1": [CAR | odd]}))]) == 0
    notes = capsys.readouterr().out.splitlines()[1:]
    assert len(notes) == 5 and all("1 boxes have" in note and note.endswith("in sample 't1'.") for note in notes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "{}"], "The ground truth is not named"),
        (["score", "--gt", "x"], "No submission is named"),
        (["score", "{}", "--gt", "x", "--split", "val"], "leave out --dataroot"),
        (["score", "{}", "--gt", "none"], "none does not exist"),
        (["convert", "{}", "out.csv"], "end its name in .json or .safetensors"),
    ],
)
def test_more_faults(submission, capsys, words, message):
    assert main([word.replace("{}", str(submission)) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0 and "report" in capsys.readouterr().out
