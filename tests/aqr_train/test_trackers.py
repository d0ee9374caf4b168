"""Trackers of Accelerate: who is refused, what they get, and that they go on after a resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_train.callbacks.trackers import Trackers, check_trackers, flatten
from aqr_train.checkpoints import latest_checkpoint
from aqr_train.trainer import Trainer


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["wandbb"], r"train\.trackers names 'wandbb'\. Did you mean 'wandb'\?"),
        (["all"], r"train\.trackers names 'all'"),
        ("wandb", r"train\.trackers is 'wandb'; write a list, train\.trackers=\['wandb'\]\."),
        (["comet_ml"], r"names 'comet_ml', whose package is not installed; install it with `pip install comet-ml`"),
    ],
)
def test_what_cannot_track_is_refused(names: list[str] | str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_trackers(names)


def test_what_can_track_passes() -> None:
    check_trackers([])
    check_trackers(["tensorboard"])


def test_a_config_as_plain_values() -> None:
    config = {"seed": 3, "train": {"trackers": ["a"], "ema": None, "empty": {}}, "lr": 0.5}
    assert dict(flatten(config)) == {
        "seed": 3,
        "train.trackers": "['a']",
        "train.ema": "None",
        "train.empty": "{}",
        "lr": 0.5,
    }


def test_config_and_scalars_reach_the_tracker_and_go_on_after_a_resume(
    toy_trainer: Callable[..., Trainer], toy_config: Path
) -> None:
    config = load_config(toy_config)
    first = toy_trainer("run", [Trackers(["tensorboard"], config)], "train.max_steps=6")
    first.fit()
    first.accelerator.end_training()
    folder = first.work_dir / "trackers" / "aqr"
    (stored,) = folder.glob("*/hparams.yml")
    values = yaml.safe_load(stored.read_text())
    assert values["optimizer.lr"] == 0.01 and values["model.type"] == "ToyDetector"

    checkpoint = latest_checkpoint(first.work_dir)
    second = toy_trainer("run", [Trackers(["tensorboard"], config)], "train.max_steps=9", checkpoint=checkpoint)
    second.fit()
    second.accelerator.end_training()
    steps = []
    for path in folder.glob("events.*"):  # one per process: within a second their names have no order
        board = EventAccumulator(str(path))
        board.Reload()
        steps += [event.step for event in board.Scalars("train/loss")]
        assert "lr/all_others" in board.Tags()["scalars"]
    assert sorted(steps) == list(range(1, 10))


@pytest.mark.parametrize(
    ("name", "identity", "arguments"),
    [
        ("wandb", "run-1a2b", {"id": "run-1a2b", "resume": "allow"}),
        ("trackio", "run-1a2b", {"name": "run-1a2b", "resume": "allow"}),
        ("mlflow", "0f3c", {"run_id": "0f3c"}),
        ("aim", "unknown", {}),
    ],
)
def test_a_resumed_run_asks_for_the_run_it_was(
    toy_trainer: Callable[..., Trainer], name: str, identity: str, arguments: dict[str, str]
) -> None:
    before, after = Trackers([name], {}), Trackers([name], {})
    before.load_state_dict({"identity": {name: identity}})
    after.load_state_dict(before.state_dict())
    assert after._arguments(name, toy_trainer("run", [])) == arguments
