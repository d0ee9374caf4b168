"""`aqr-eval robustness`: tables within their width, comparisons, files, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from aqr_eval.cli import main
from aqr_eval.robustness import CellResult, RobustnessRun, SkippedCell, write_run
from aqr_eval.robustness.comparison import compare_runs
from aqr_eval.robustness.comparison_tables import comparison_tables
from aqr_eval.robustness.published import PUBLISHED
from aqr_eval.robustness.removed import describe
from aqr_eval.robustness.tables import run_table, run_to_markdown

Build = Callable[..., RobustnessRun]
LONGEST = "missing_front_front_right_front_left"  # of all suites


def text_of(table: object, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_a_table_of_one_run(build: Build) -> None:
    run = build("ours", 0.8, {"fog": (0.6, 0.4), LONGEST: (0.2,)}, keyframes=81, seed=3)
    removed = {
        "LidarFog/points": 2e5,
        "LidarFog/points_kept": 1.5e5,
        "ImageFog/images": 6.0,
        "ImageFog/mean_change": 31.0,
    }
    run = replace(
        run,
        cells=(replace(run.cells[0], removed=removed, differs="other fog"), *run.cells[1:]),
        skipped=(
            SkippedCell("view_drop", 1, "The pipeline has no LoadMultiViewImageFromFiles, so nothing would change"),
        ),
    )
    text = text_of(run_table(run))
    assert max(map(len, text.splitlines())) <= 100
    assert "ours, suite made-up, 81 keyframes, seed 3" in text
    rows = {tuple(line.split()[:2]): line.split() for line in text.splitlines() if line.strip()}
    assert rows["fog", "1"][2:5] == ["0.600", "0.750", "0.300"]  # no RA before the last severity
    assert rows["fog", "2"][2:] == ["0.400", "0.500", "0.200", "0.625"]
    assert rows[LONGEST, "1"][2:] == ["0.200", "0.250", "0.100", "0.250"]
    assert rows["view_drop", "1"][2:7] == ["-", "-", "-", "-", "skipped:"]
    markdown = run_to_markdown(run)
    assert "| fog | 1 | 0.600 | 0.750 | 0.300 |  | 25% of points lost, images changed by 31 of 255 |" in markdown
    assert "Not to be compared with published numbers:\n\n- fog: other fog" in markdown
    assert "mRA 0.438, mRR 0.438 over 2 corruptions" in markdown


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        ({}, ""),
        ({"LidarDrop/dropped": 1.0}, "sensor lost"),
        ({"PointsReduction/points": 200.0, "PointsReduction/points_kept": 20.0}, "90% of points lost"),
        ({"LidarFog/points": 1000.0, "LidarFog/points_kept": 999.0}, "0.1% of points lost"),
        (
            {"LidarMotionBlur/points": 10.0, "LidarMotionBlur/points_kept": 10.0, "LidarMotionBlur/points_moved": 10.0},
            "100% of points moved",
        ),
        ({"ViewDrop/images": 6.0, "ViewDrop/images_lost": 1.2}, "20% of images lost"),
        ({"StuckCameras/images": 6.0, "StuckCameras/stuck": 3.0}, "50% of images stuck"),
        ({"StuckLidar/stuck": 0.5, "StuckLidar/seconds": 0.25}, "LiDAR stuck in 50% of keyframes"),
        ({"ObjectFailure/frames": 0.5, "ObjectFailure/boxes": 7.0}, "50% of keyframes struck"),
        ({"CameraMisalignment/mean_angle_deg": 1.52}, "cameras turned by 1.5 deg"),
        ({"Later/unknown": 3.0}, ""),
    ],
)
def test_what_failed_in_words(removed: dict[str, float], words: str) -> None:
    assert describe(removed) == words


def test_several_against_the_first(pair: tuple[RobustnessRun, RobustnessRun]) -> None:
    ours, base = pair
    comparison = compare_runs({"base": base, "ours": ours})
    rows = {row.name: row for row in comparison.rows()}
    assert list(rows) == ["clean NDS", "fog", "snow", "mRA", "mRRA", "mCE"]
    assert rows["fog"].values == pytest.approx({"base": 0.4, "ours": 0.5})
    assert rows["fog"].differences == pytest.approx({"ours": 0.1})
    assert rows["mRRA"].values == pytest.approx({"base": 0.0, "ours": -0.125})
    (table,) = comparison_tables(comparison)
    text = text_of(table)
    assert "0.500 (+0.100)" in text and "-12.50 %" in text and not comparison.remarks


def test_many_models_take_several_tables_of_a_hundred_columns(build: Build) -> None:
    runs = {f"a model of some name {n}": build("m", 0.8, {LONGEST: (0.1 * n,)}) for n in range(1, 7)}
    tables = list(comparison_tables(compare_runs(runs)))
    assert len(tables) == 2
    for table in tables:
        text = text_of(table)
        assert max(map(len, text.splitlines())) <= 100 and LONGEST in text and "(+0." in text


def test_only_common_cells_are_compared_and_what_differs_is_said(build: Build) -> None:
    first = build("a", 0.8, {"fog": (0.6, 0.4), "snow": (0.2,)}, keyframes=81)
    second = build("b", 0.8, {"fog": (0.6,), "dirt": (0.3,)}, keyframes=80, seed=1)
    comparison = compare_runs({"a": first, "b": second})
    assert [run.keys for run in comparison.runs.values()] == [(("fog", 1),)] * 2
    assert comparison.remarks == (
        "Left out, as not all have them: fog 2, snow 1, dirt 1.",
        "The keyframes differ: a 81, b 80.",
        "The seeds of the failures differ: a 0, b 1.",
    )


def test_one_run_on_the_command_line(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    path = write_run(tmp_path / "v3" / "summary.json", build("ours", 0.8, {"fog": (0.6, 0.4)}))
    out, markdown, figures = tmp_path / "o.json", tmp_path / "o.md", tmp_path / "figures"
    words = ["robustness", str(path), "--out", str(out), "--markdown", str(markdown), "--figures", str(figures)]
    assert main(words) == 0
    assert "mRA 0.625" in capsys.readouterr().out
    assert json.loads(out.read_text()) == json.loads(path.read_text())
    assert markdown.read_text().startswith("ours, suite made-up, seed 0.\n\n| corruption |")
    for name in ("robustness_severities.png", "robustness.png"):
        picture = np.asarray(Image.open(figures / name))
        assert min(picture.shape[:2]) > 100 and picture.std() > 2


def test_runs_are_called_by_their_folders(
    pair: tuple[RobustnessRun, RobustnessRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, run in zip(("v1", "base"), pair, strict=True):
        write_run(tmp_path / name / "summary.json", run)
    out = tmp_path / "compared.json"
    assert main(["robustness", str(tmp_path / "base"), str(tmp_path / "v1" / "summary.json"), "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["baseline"] == "base" and list(content["models"]) == ["base", "v1"]
    assert content["models"]["v1"]["mRRA"] == pytest.approx(-0.125)
    assert content["models"]["v1"]["RRA"] == pytest.approx({"fog": 0.25, "snow": -0.5})
    assert main(["robustness", f"x={tmp_path / 'base'}", f"x={tmp_path / 'v1'}"]) == 2
    assert "names 'x' twice" in capsys.readouterr().err


def test_published_numbers_stand_apart_and_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    names = PUBLISHED["CMT"].by_corruption
    own = write_run(
        tmp_path / "own" / "summary.json", build("own", 0.7, dict.fromkeys(names, (0.5,) * 3), suite="multicorrupt")
    )
    markdown = tmp_path / "m.md"
    assert main(["robustness", str(own), "--published", "--markdown", str(markdown)]) == 0
    shown = capsys.readouterr().out
    before, _, after = shown.partition("Published by others")
    assert "BEVFusion" not in before and "+7.16 %" in after and "compared with runs of your own" in after
    assert "Published by others (full-size models, nuScenes val, their protocol)" in markdown.read_text()
    other = write_run(tmp_path / "other" / "summary.json", build("own", 0.7, {"fog": (0.5,)}))
    assert main(["robustness", str(other), "--published"]) == 2
    assert "--published holds numbers of multicorrupt and other is of made-up; leave it out." in capsys.readouterr().err


def test_what_is_refused(build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one" / "summary.json", build("a", 0.8, {"fog": (0.6,)}))
    others = {
        "suite": build("b", 0.8, {"fog": (0.6,)}, suite="another"),
        "cells": build("b", 0.8, {"snow": (0.6,)}),
    }
    for name, run in others.items():
        write_run(tmp_path / name / "summary.json", run)
    cases = {
        (str(one), str(tmp_path / "suite")): "one is of the suite made-up and suite of another; compare runs of one",
        (str(one), str(tmp_path / "cells")): "one, cells have no cell in common; run the suite for all of them.",
        (str(one), "--out", str(tmp_path)): "is a folder: name the file to write in it.",
        (str(one), "--figures", str(one)): "is a file: name a folder for the figures.",
        (str(tmp_path / "none"),): "does not exist; name the summary.json",
    }
    for words, sentence in cases.items():
        assert main(["robustness", *words]) == 2
        assert sentence in capsys.readouterr().err


def test_a_cell_is_a_value() -> None:
    cell = CellResult("fog", 1, 0.5, 0.25)
    assert (cell.value("NDS"), cell.value("mAP")) == (0.5, 0.25)
