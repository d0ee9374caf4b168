"""Summaries on disk: there and back, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.robustness import RobustnessRun, SkippedCell, load_run, write_run
from aqr_eval.robustness.files import run_to_dict


@pytest.fixture
def run(pair: tuple[RobustnessRun, RobustnessRun]) -> RobustnessRun:
    ours, _ = pair
    first = replace(
        ours.cells[0], tp_errors={"trans_err": 0.25}, removed={"ImageFog/images": 6.0}, differs="fog of our own"
    )
    skipped = (SkippedCell("lidar_drop", 1, "the pipeline has no LoadPointsFromFile"),)
    return replace(ours, cells=(first, *ours.cells[1:]), skipped=skipped, seed=3, keyframes=81)


def test_there_and_back(run: RobustnessRun, tmp_path: Path) -> None:
    path = write_run(tmp_path / "new" / "summary.json", run)
    assert load_run(path) == run == load_run(path.parent)
    content = json.loads(path.read_text())
    assert content["suite"] == "made-up" and content["model"] == "ours"
    assert content["clean"] == {"NDS": 0.8, "mAP": 0.4, "errors": {}}
    assert content["cells"][0] == {
        "corruption": "fog",
        "severity": 1,
        "NDS": 0.6,
        "mAP": 0.3,
        "errors": {"trans_err": 0.25},
        "removed": {"ImageFog/images": 6.0},
        "differs": "fog of our own",
    }
    assert content["summary"]["mRA"] == content["summary"]["mRR"] == pytest.approx(0.4375)
    assert content["summary"]["RA"] == pytest.approx({"fog": 0.625, "snow": 0.25})


def test_what_is_not_a_number_is_null(build: Callable[..., RobustnessRun], tmp_path: Path) -> None:
    nothing = build("nothing", 0.0, {"fog": (0.0,)})
    nothing = replace(nothing, cells=(replace(nothing.cells[0], tp_errors={"attr_err": math.nan}),))
    path = write_run(tmp_path / "summary.json", nothing)
    assert "NaN" not in path.read_text()
    assert json.loads(path.read_text())["summary"] == {"mRA": None, "mRR": None, "RA": {"fog": None}}
    assert math.isnan(load_run(path).cells[0].tp_errors["attr_err"])


def test_the_least_that_is_needed_in_any_order(tmp_path: Path) -> None:
    cells = [
        {"corruption": name, "severity": severity, "NDS": 0.1, "mAP": 0.1}
        for name, severity in [("fog", 2), ("snow", 1), ("fog", 1)]
    ]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"suite": "s", "model": "m", "clean": {"NDS": 0.5, "mAP": 0.5}, "cells": cells}))
    assert load_run(path).keys == (("fog", 1), ("fog", 2), ("snow", 1))


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.pop(name)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (_without("suite"), "it lacks 'suite'"),
        (_without("clean"), "it lacks 'clean'"),
        (lambda content: content["cells"][0].pop("NDS"), "it lacks 'NDS'"),
        (lambda content: content["cells"][0].update(NDS=60), "NDS is 60 and not between 0 and 1"),
        (lambda content: content["cells"][0].update(mAP="x"), "'x' is no number"),
        (lambda content: content["cells"][0].update(NDS=None), "NDS is None and not between 0 and 1"),
        (lambda content: content["cells"][0].update(severity="1"), "'1' is not of type int"),
        (lambda content: content["cells"].append(content["cells"][0]), "a cell comes twice"),
        (lambda content: content.update(cells=3), "not iterable"),
        (lambda content: content["skipped"][0].update(more=1), "unexpected keyword argument 'more'"),
    ],
)
def test_what_is_no_summary(
    run: RobustnessRun, tmp_path: Path, spoil: Callable[[dict[str, Any]], object], cause: str
) -> None:
    content = run_to_dict(run)
    spoil(content)
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        load_run(path)
    assert str(error.value).startswith(f"{path} is no summary of robustness (") and cause in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\x01"])
def test_what_is_no_json_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is no summary of robustness .*; write it again with `aqr robustness`."):
        load_run(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(DataError, match="does not exist; name the summary.json that `aqr robustness` writes"):
            load_run(path)
