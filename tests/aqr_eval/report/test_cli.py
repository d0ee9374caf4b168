"""The command line of the report."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.report.cli import add_parser, parse_named_paths


def test_command_writes_the_page_and_says_where(dataroot, submissions, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    out = tmp_path / "deep" / "report.html"
    words = ["report", "--dataroot", dataroot, "--version", "v1.0-mini", "--split", "all", "--samples", "1"]
    words += ["--out", out, "--figure", f"weights & windows={dataroot / 'samples' / 'CAM_FRONT' / '0.jpg'}"]
    words += ["--submission", *(f"{name}={path}" for name, path in submissions.items())]
    args = parser.parse_args(list(map(str, words)))
    assert args.func(args) == 0
    assert 'alt="weights &amp; windows"' in out.read_text()
    assert str(out) in capsys.readouterr().out


def test_names_are_optional_and_keep_their_order():
    assert parse_named_paths(["b=x/y.json", "runs/a.json"], "--submission") == {
        "b": Path("x/y.json"),
        "a": Path("runs/a.json"),
    }


@pytest.mark.parametrize("words", [["=x"], ["a="], ["a=x", "a=y"], [""]])
def test_names_must_be_whole_and_unique(words):
    with pytest.raises(AqrError, match="--submission"):
        parse_named_paths(words, "--submission")
