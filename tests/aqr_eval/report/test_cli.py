"""The command line of the report."""

from __future__ import annotations

import pytest

from aqr_eval.cli import main


@pytest.fixture
def report(dataroot, submissions, tmp_path):
    def run(*words, truth=("--dataroot", dataroot, "--version", "v1.0-mini", "--split", "all")):
        named = (f"{name}={path}" for name, path in submissions.items())
        out = tmp_path / "deep" / "report.html"
        return main(["report", *named, *map(str, (*truth, "--draws", 5, "--out", out, *words))])

    return run


def test_command_writes_page_markdown_and_charts_and_says_where(report, dataroot, tmp_path, capsys):
    figure = f"weights & windows={dataroot / 'samples' / 'CAM_FRONT' / '0.jpg'}"
    also = ["--markdown", tmp_path / "report.md", "--png", tmp_path / "charts"]
    assert report("--samples", "1", "--figure", figure, *also) == 0
    assert 'alt="weights &amp; windows"' in (tmp_path / "deep" / "report.html").read_text()
    said = capsys.readouterr().out
    files = [tmp_path / "report.md", *(tmp_path / "charts").iterdir()]
    assert len(files) > 5 and all(str(path) in said for path in files)


def test_a_prepared_file_has_no_frames_and_the_page_says_so(report, dataroot, tmp_path):
    prepared = tmp_path / "truth.safetensors"
    words = ["--dataroot", dataroot, "--version", "v1.0-mini", "--split", "all", "--out", prepared]
    assert main(["prepare", *map(str, words)]) == 0
    assert report(truth=("--gt", prepared)) == 0
    page = (tmp_path / "deep" / "report.html").read_text()
    assert "No frames: images and points are read with the tables" in page and "<image" not in page
    beside = ("--gt", prepared, "--dataroot", dataroot, "--version", "v1.0-mini")
    assert report(truth=beside) == 0, "the tables of the frames may stand beside it"
    assert "<image" in (tmp_path / "deep" / "report.html").read_text()
    assert report("--worst", "0", "--samples", "0", truth=("--gt", prepared)) == 0
    assert "No frames" not in (tmp_path / "deep" / "report.html").read_text(), "nobody asked for any"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--worst", "-1"], "worst = -1 is negative"),
        (["--gt", "x"], "leave out --dataroot"),
        (["--markdown", "."], "is a folder"),
        (["--png", __file__], "is a file"),
    ],
)
def test_bad_input_is_one_sentence(report, capsys, words, message):
    assert report(*words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_frames_need_the_folder_and_the_version(report, tmp_path, capsys):
    assert report(truth=("--gt", "x", "--dataroot", tmp_path)) == 2
    assert "--dataroot and --version together" in capsys.readouterr().err
