"""Reading, thinning and smoothing of training logs."""

from __future__ import annotations

import numpy as np
import pytest

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.report.scalars import read_scalars, smooth, thin


def test_series_come_sorted_and_the_later_line_of_a_step_wins(tmp_path):
    log = tmp_path / "scalars.jsonl"
    log.write_text(
        '{"step": 10, "epoch": 0, "train/loss": 3.0, "lr": 1e-4}\n'
        '{"step": 20, "train/loss": 2.0}\n\n'
        '{"step": 10, "train/loss": 4.0, "note": "resumed", "ok": true}\n'
        '{"step": 30, "train/loss": NaN, "val/mAP": 0.5}\n'
    )
    series = read_scalars(log)
    assert sorted(series) == ["lr", "train/loss", "val/mAP"]
    assert [part.tolist() for part in series["train/loss"]] == [[10, 20], [4.0, 2.0]]


@pytest.mark.parametrize("line", ['{"step": 1', '{"loss": 1}', "[1]", '{"step": "a"}', '{"step": true}'])
def test_a_broken_line_is_named(tmp_path, line):
    log = tmp_path / "scalars.jsonl"
    log.write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_scalars(log)


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing.jsonl"):
        read_scalars(tmp_path / "nothing.jsonl")


def test_thinning_averages_equal_runs():
    steps, values = thin((np.arange(6.0), np.array([1.0, 3, 5, 7, 9, 11])), 3)
    assert steps.tolist() == [0.5, 2.5, 4.5]
    assert values.tolist() == [2, 6, 10]
    short = (np.arange(2.0), np.arange(2.0))
    assert thin(short, 3) is short


def test_smoothing_keeps_length_ends_and_straight_lines():
    line = np.linspace(0, 1, 101)
    np.testing.assert_allclose(smooth(line), line, atol=1e-12)
    noisy = np.random.default_rng(0).normal(size=200)
    assert smooth(noisy)[0] == noisy[0]
    assert smooth(noisy).std() < 0.5 * noisy.std()
    assert smooth(np.array([2.0])).tolist() == [2.0]
