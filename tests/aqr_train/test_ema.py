"""The average of the weights: its numbers, where it is used, and that it resumes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import read_weights
from aqr_train import assembly
from aqr_train.callbacks.ema import WeightAverage
from aqr_train.checkpoints import FOLDER, TRAINED, latest_checkpoint, read_trainer_state

sys.path.insert(0, str(Path(__file__).parent))
from forked_runs import Run, carry_out, traces  # noqa: E402

Train = Callable[..., Path]
EMA = "train.ema=0.9"


def test_the_average_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([0.0]))
    average = WeightAverage({"w": weight}, 0.25)
    weight.data.fill_(11.0)
    average.on_update(None)  # decay (1 + 1) / (10 + 1), so 9/11 of the way from 0 to 11
    with average.in_place():
        assert weight.item() == pytest.approx(9.0)
    average.on_update(None)  # (1 + 2) / (10 + 2) = 0.25, as the decay: 3/4 of the way from 9 to 11
    average.on_update(None)  # 0.25 is less than 4 / 13: 3/4 of the way from 10.5 to 11
    with average.in_place():
        assert weight.item() == pytest.approx(10.875)
        assert average.trained_weights()["w"].item() == pytest.approx(10.875)  # what the parameter holds now
    assert weight.item() == 11.0


def test_weights_come_back_when_prediction_fails() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage({"w": weight}, 0.5)
    weight.data.fill_(2.0)
    trained = average.trained_weights()
    with pytest.raises(RuntimeError, match="no memory"), average.in_place():
        assert trained["w"].item() == 2.0
        raise RuntimeError("no memory")
    assert weight.item() == 2.0


def test_the_average_is_published_and_validated_and_does_not_touch_training(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = []

    class Keep:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __call__(self, model: nn.Module, folder: Path) -> dict[str, float]:
            validated.append({key: value.clone() for key, value in model.state_dict().items()})
            return {"NDS": 0.0}

    monkeypatch.setattr(assembly, "DatasetEvaluation", Keep)
    options = ("train.save_every=1", "train.keep=0", "data.val={'type': 'ToyDataset'}", "train.val_every=0")
    plain, averaged = (
        latest_checkpoint(train(n, "--cfg-options", *options, *o)) for n, o in (("a", ()), ("b", (EMA,)))
    )
    assert plain is not None and averaged is not None
    trained, raw, published = read_weights(plain), read_weights(averaged / TRAINED), read_weights(averaged)
    assert set(raw) == {key for key in trained if "running" not in key and "num_batches" not in key}
    assert all(torch.equal(raw[key], trained[key]) for key in raw)
    assert published.keys() == trained.keys() == validated[-1].keys()
    assert all(torch.equal(published[key], validated[-1][key]) for key in published)
    buffers = set(published) - set(raw)
    assert buffers and all(torch.equal(published[key], trained[key]) for key in buffers)  # the model's own
    # The average again, from the weights that each step has left.
    steps = [read_weights(averaged.with_name(f"step_{step:07d}") / TRAINED) for step in range(1, 11)]
    average = read_weights(averaged.with_name("step_0000001"))
    for number, weights in enumerate(steps[1:], start=2):
        decay = min(0.9, (1 + number) / (10 + number))
        average = {key: decay * average[key] + (1 - decay) * weights[key] for key in raw}
    for key in raw:
        torch.testing.assert_close(published[key], average[key], rtol=1e-5, atol=1e-6)
        assert published[key].dtype == torch.float32


def test_the_average_resumes_to_the_last_bit(train: Train) -> None:
    options = ("--cfg-options", EMA, "train.save_every=5")
    whole = train("whole", *options)
    again = train("again", "--resume", str(whole / FOLDER / "step_0000005"), *options)
    assert traces(whole)["files"] == traces(again)["files"]


def test_starting_and_giving_up_the_average_in_a_resumed_run(train: Train) -> None:
    plain = train("plain", "--cfg-options", "train.max_steps=4")
    started = train("started", "--resume", str(plain), "--cfg-options", EMA)
    assert "holds no average of the weights; train.ema starts it at these" in (started / "log.txt").read_text()
    newest = latest_checkpoint(started)
    assert newest is not None
    assert read_trainer_state(newest)["callbacks"][0]["WeightAverage"] == {"updates": 6}
    stopped = train("stopped", "--resume", str(started), "--cfg-options", "train.max_steps=12")
    assert not (stopped / FOLDER / "step_0000012" / TRAINED).exists() and (stopped / FOLDER).is_dir()
    assert "goes on with the trained weights, without their average" in (stopped / "log.txt").read_text()


@pytest.mark.slow
def test_two_processes_keep_one_average(toy_config: Path) -> None:
    options = (EMA, "train.save_every=5", "model.dropout=0.3")
    runs = [
        Run("whole", options, processes=2),
        Run("cut", options, processes=2, moment=("save", 0.0), signal="SIGTERM"),
        Run("cut", options, processes=2),
    ]
    assert [outcome.codes for outcome in carry_out(toy_config, runs)][::2] == [[0, 0]] * 2
    assert traces(toy_config.parent / "whole")["files"] == traces(toy_config.parent / "cut")["files"]
