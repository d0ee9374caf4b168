"""Means of a suite: by hand, by their laws, and the published ones of MultiCorrupt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.robustness import CellResult, RobustnessRun
from aqr_eval.robustness.published import PUBLISHED
from aqr_eval.robustness.scores import (
    corruption_errors,
    mean_corruption_error,
    mean_relative_resistance,
    mean_resilience_rate,
    mean_resistance,
    relative_resistance,
    resistance,
)

Pair = tuple[RobustnessRun, RobustnessRun]


def test_what_is_kept_by_hand(pair: Pair) -> None:
    ours, _ = pair
    assert resistance(ours) == pytest.approx({"fog": 0.625, "snow": 0.25})  # (0.6 + 0.4) / 2 / 0.8, 0.2 / 0.8
    assert mean_resistance(ours) == pytest.approx(0.4375)  # a corruption counts once, whatever its severities
    assert mean_resilience_rate(ours) == mean_resistance(ours)
    assert resistance(ours, "mAP") == pytest.approx(resistance(ours))  # mAP is half of NDS everywhere


def test_against_a_baseline_by_hand(pair: Pair) -> None:
    ours, base = pair
    assert relative_resistance(ours, base) == pytest.approx({"fog": 0.25, "snow": -0.5})  # 1.0 / 0.8, 0.2 / 0.4
    assert mean_relative_resistance(ours, base) == pytest.approx(-0.125)
    assert corruption_errors(ours, base) == pytest.approx({"fog": 1.0 / 1.2, "snow": 0.8 / 0.6})
    assert mean_corruption_error(ours, base) == pytest.approx((1.0 / 1.2 + 0.8 / 0.6) / 2)


def test_against_itself_a_model_is_no_better(pair: Pair) -> None:
    for run in (*pair, *PUBLISHED.values()):
        assert mean_relative_resistance(run, run) == 0 and mean_corruption_error(run, run) == 1


def test_a_model_that_finds_nothing_has_no_shares(build: Callable[..., RobustnessRun], pair: Pair) -> None:
    nothing = build("nothing", 0.0, {"fog": (0.0, 0.0), "snow": (0.0,)})
    assert math.isnan(mean_resistance(nothing))
    assert math.isnan(mean_relative_resistance(pair[0], nothing))
    assert mean_relative_resistance(nothing, pair[0]) == -1
    assert math.isnan(mean_resistance(replace(nothing, cells=())))


def test_other_cells_cannot_be_compared(pair: Pair) -> None:
    ours, base = pair
    with pytest.raises(DataError, match="ours has 2 cells and base 3, which are not the same ones; compare"):
        mean_relative_resistance(replace(ours, cells=ours.cells[:2]), base)


@pytest.mark.parametrize(
    ("model", "published"), [("CMT", 0.865), ("MEFormer", 0.856), ("MoME", 0.856), ("BEVFusion", 0.830)]
)
def test_the_published_mra(model: str, published: float) -> None:
    """NDS is published in per cent to one digit, so each is off by 0.0005 at most, and so is their mean: the quotient
    by up to (0.0005 + 0.0005 mRA) / clean, 0.0013. mRA itself is rounded to three digits, another 0.0005."""
    run = PUBLISHED[model]
    rounding = 0.0005 * (1 + published) / run.clean.nds
    assert rounding < 0.0014
    assert mean_resistance(run) == pytest.approx(published, abs=rounding + 0.0005)


@pytest.mark.parametrize(("model", "published"), [("MEFormer", 7.391), ("CMT", 7.161), ("MoME", 6.837)])
def test_the_published_mrra(model: str, published: float) -> None:
    """Were all numbers of a model rounded up and all of BEVFusion down, mRRA would be off by 0.18 points; independent
    roundings leave it within a few hundredths, and so it is."""
    run, base = PUBLISHED[model], PUBLISHED["BEVFusion"]

    def shift(run: RobustnessRun, by: float) -> RobustnessRun:
        def shifted(cell: CellResult) -> CellResult:
            return replace(cell, nds=cell.nds + by)

        return replace(run, cells=tuple(map(shifted, run.cells)))

    lowest, highest = (100 * mean_relative_resistance(shift(run, by), shift(base, -by)) for by in (-0.0005, 0.0005))
    assert lowest < published < highest and highest - lowest < 0.4
    assert 100 * mean_relative_resistance(run, base) == pytest.approx(published, abs=0.02)


def test_the_published_rows_are_whole() -> None:
    for run in PUBLISHED.values():
        assert len(run.cells) == 30 and len(run.by_corruption) == 10
        assert all(len(cells) == 3 for cells in run.by_corruption.values())
        assert all(0.2 < cell.nds < run.clean.nds for cell in run.cells)
    assert PUBLISHED["CMT"].by_corruption["beam_reduction"][2].nds == pytest.approx(0.450)
    assert PUBLISHED["MoME"].by_corruption["darkness"][0].nds == pytest.approx(0.710)
