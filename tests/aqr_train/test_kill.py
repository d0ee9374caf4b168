"""Runs that are killed or told to stop at random moments go on as if nothing had been, to the last bit."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from forked_runs import Outcome, Run, carry_out, traces

# A step is short and a checkpoint long, so that many a kill meets an unfinished one.
OPTIONS = (
    "model.width=5000",
    "model.dropout=0.3",
    "data.train.length=22",
    "data.val={'type': 'ToyDataset'}",
    "train.max_steps=200",
    "train.save_every=1",
    "train.log_every=3",
    "train.val_every=4",
    "train.accumulate=2",
    "train.ema=0.9",
)
WORKERS = ("data.num_workers=2", "train.max_steps=40")
STOPS = ("train.save_every=13", "train.val_every=None")


@pytest.mark.slow
def test_killed_at_random_moments(toy_config: Path) -> None:
    draw = random.Random(5)
    moments = [("save", draw.uniform(0, 0.12)) for _ in range(20)] + [("start", draw.uniform(0, 0.6)) for _ in range(4)]
    killed = [Run("killed", OPTIONS, moment=moment) for moment in moments]
    whole, *outcomes = carry_out(toy_config, [Run("whole", OPTIONS), *killed, Run("killed", OPTIONS)])
    assert whole.codes == [0] and outcomes[-1].codes == [0]
    # On a fast machine the last of them may find the run at its end.
    codes = [outcome.codes[0] for outcome in outcomes[:-1]]
    assert codes.count(-9) >= 20 and set(codes) <= {-9, 0}
    steps = [outcome.step for outcome in outcomes]  # `latest` was read whole after each
    assert steps == sorted(steps) and steps[-1] == 200
    assert sum(len(outcome.unfinished) for outcome in outcomes) >= 3, "no kill met an unfinished checkpoint"
    assert not outcomes[-1].unfinished
    assert traces(toy_config.parent / "whole") == traces(toy_config.parent / "killed")


@pytest.mark.slow
def test_killed_with_loader_processes(toy_config: Path) -> None:
    options, draw = OPTIONS + WORKERS, random.Random(6)
    killed = [Run("killed", options, moment=("save", draw.uniform(0, 0.2))) for _ in range(3)]
    outcomes = carry_out(toy_config, [Run("whole", options), *killed, Run("killed", options)])
    assert [outcome.codes[0] for outcome in outcomes] == [0, -9, -9, -9, 0]
    assert traces(toy_config.parent / "whole") == traces(toy_config.parent / "killed")


@pytest.mark.slow
def test_sigterm_saves_the_step_it_stops_at(toy_config: Path) -> None:
    options, draw = OPTIONS + STOPS, random.Random(7)
    stopped = [
        Run("stopped", options, moment=("save", draw.uniform(0, 0.1)), signal="SIGTERM", to=(0, 0)) for _ in range(5)
    ]
    outcomes = carry_out(toy_config, [Run("whole", options), *stopped, Run("stopped", options)])
    assert [outcome.codes[0] for outcome in outcomes] == [0, *[143] * 5, 0]
    _check_stops(outcomes[1:-1])
    assert traces(toy_config.parent / "whole")["files"] == traces(toy_config.parent / "stopped")["files"]
    assert traces(toy_config.parent / "whole")["scalars"] == traces(toy_config.parent / "stopped")["scalars"]


@pytest.mark.slow
def test_sigterm_to_one_of_two_processes_stops_both(toy_config: Path) -> None:
    options = (*OPTIONS, *STOPS)
    runs = [
        Run("whole", options, processes=2),
        Run("stopped", options, processes=2, moment=("save", 0.05), signal="SIGTERM", to=(1,)),
        Run("stopped", options, processes=2),
    ]
    outcomes = carry_out(toy_config, runs)
    assert [outcome.codes for outcome in outcomes] == [[0, 0], [143, 143], [0, 0]]
    _check_stops(outcomes[1:2])
    assert traces(toy_config.parent / "whole")["files"] == traces(toy_config.parent / "stopped")["files"]
    assert traces(toy_config.parent / "whole")["scalars"] == traces(toy_config.parent / "stopped")["scalars"]


def _check_stops(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert f"Stopped at step {outcome.step} of 200, as told by SIGTERM. Continue with --resume." in outcome.text
    assert any(outcome.step % 13 for outcome in outcomes)  # saved because of the stop
