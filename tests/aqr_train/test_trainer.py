"""The loop through its command line: files, resume, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aqr_core.checkpoint import read_meta, read_weights
from aqr_core.config import load_config
from aqr_train.checkpoints import latest_checkpoint, read_trainer_state

Train = Callable[..., Path]
Scalars = Callable[[Path], list[dict[str, float]]]
DROPOUT = ("--cfg-options", "model.dropout=0.3")


@pytest.fixture
def assert_same_run(scalars: Scalars) -> Callable[[Path, Path], None]:
    """Weights, optimiser and log equal to the last bit."""
    return lambda a, b: _assert_same_run(a, b, scalars)


def _assert_same_run(a: Path, b: Path, scalars: Scalars) -> None:
    first, second = latest_checkpoint(a), latest_checkpoint(b)
    assert first is not None and second is not None and first.name == second.name
    weights, others = read_weights(first), read_weights(second)
    assert all((weights[key] == others[key]).all() for key in weights)
    a_state, b_state = (read_trainer_state(folder)["optimizer"] for folder in (first, second))
    assert a_state.keys() == b_state.keys() and a_state
    assert all((a_state[name][key] == b_state[name][key]).all() for name in a_state for key in a_state[name])
    assert scalars(a) == scalars(b)


def test_a_run_leaves_config_logs_and_checkpoints(train: Train, scalars: Scalars) -> None:
    folder = train("run")
    records = scalars(folder)
    assert [record["step"] for record in records] == list(range(1, 11))
    assert {"train/loss", "train/loss_center", "train/loss_rest", "train/grad_norm", "lr", "epoch"} <= set(records[0])
    assert records[0]["train/loss"] == pytest.approx(
        records[0]["train/loss_center"] + records[0]["train/loss_rest"], rel=1e-6
    )
    assert [record["epoch"] for record in records] == [0] * 5 + [1] * 5  # 12 samples, batch 2: the 6th step ends a pass
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "latest",
        "step_0000008",
        "step_0000010",
    ]
    checkpoint = latest_checkpoint(folder)
    assert checkpoint is not None and checkpoint.name == "step_0000010"
    meta = read_meta(checkpoint)
    assert (meta["step"], meta["epoch"], meta["classes"]) == (10, 1, ["car"])
    assert load_config(checkpoint / "config.py").seed == 3
    assert load_config(folder / "config.py").seed == 3
    assert "step 10/10" in (folder / "log.txt").read_text()
    assert list((folder / "tensorboard").iterdir())


def test_two_runs_are_equal_to_the_last_bit(train: Train, assert_same_run) -> None:
    assert_same_run(train("a", *DROPOUT), train("b", *DROPOUT))


@pytest.mark.parametrize("stop", [4, 6, 8])  # inside a pass, at its end, inside the next one
def test_a_resumed_run_equals_the_uninterrupted_one(train: Train, assert_same_run, stop: int) -> None:
    whole = train("whole", *DROPOUT, f"train.save_every={stop}", "train.keep=0", "train.log_every=3")
    cut = train("cut", *DROPOUT, f"train.save_every={stop}", "train.keep=0", "train.log_every=3")
    # As a kill after the checkpoint leaves it: later checkpoints gone, later lines of the log still there.
    (cut / "checkpoints" / "latest").write_text(f"step_{stop:07d}\n")
    train("cut", *DROPOUT, f"train.save_every={stop}", "train.keep=0", "train.log_every=3", "--resume")
    assert_same_run(whole, cut)


def test_resume_from_another_folder(train: Train, scalars: Scalars) -> None:
    first = train("first")
    second = train("second", "--resume", str(first / "checkpoints" / "step_0000008"))
    assert [record["step"] for record in scalars(second)] == [9, 10]
    third = train("third", "--resume", str(first), "--cfg-options", "train.max_steps=12")
    assert [record["step"] for record in scalars(third)] == [11, 12]


@pytest.mark.parametrize(
    ("done", "batch_size", "epochs"),
    [
        (4, 4, [1, 1, 1, 2, 2]),  # eight samples of twelve are seen, one step is left of the pass
        (5, 5, [1, 2, 2, 3]),  # ten are seen, too few are left for a step
    ],
)
def test_resume_with_another_batch_size_goes_on_behind_the_samples_seen(
    train: Train, scalars: Scalars, done: int, batch_size: int, epochs: list[int]
) -> None:
    first = train("first", "--cfg-options", "train.save_every=1", "train.keep=0")
    checkpoint = str(first / "checkpoints" / f"step_{done:07d}")
    options = ["--cfg-options", f"data.batch_size={batch_size}", "train.max_steps=9"]
    second = train("second", "--resume", checkpoint, *options)
    assert [record["epoch"] for record in scalars(second)] == epochs


def test_a_used_work_dir_is_not_overwritten(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("run")
    train("run", expect=2)
    assert "already holds a run (step_0000010); add --resume" in capsys.readouterr().err


def test_resume_without_a_checkpoint(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("none", "--resume", expect=2)
    assert "holds no checkpoint to resume" in capsys.readouterr().err


def test_non_finite_loss_stops_before_the_update(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("nan", "--cfg-options", "model.nan_at=token4", "train.save_every=1", "train.keep=0", expect=2)
    message = capsys.readouterr().err
    last = latest_checkpoint(folder)
    done = 0 if last is None else read_meta(last)["step"]
    assert f"Step {done + 1} was stopped before its update: loss_center is nan for samples" in message
    assert "token4" in message and "loss_rest" not in message


def test_non_finite_gradient_names_the_parameter(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("inf", "--cfg-options", "model.bad_gradient=True", "train.save_every=1", expect=2)
    message = capsys.readouterr().err
    assert "Step 1 was stopped before its update: the gradient norm is nan, first in pts_bbox_head.1.bias" in message
    assert latest_checkpoint(folder) is None


def test_dry_run_prints_config_and_plan_and_writes_nothing(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    options = (f"load_from={train('first')}", "optimizer.param_groups={'stem.*': {'frozen': True}}")
    capsys.readouterr()
    folder = train("dry", "--dry-run", "--cfg-options", *options)
    shown = capsys.readouterr().out
    assert "max_steps=10" in shown and "effective batch   2 = 2 x 1 processes x 1 per update" in shown
    assert "stem.*" in shown and "frozen" in shown and "step       9: lr" in shown
    assert not folder.exists()


def test_load_from_takes_weights_and_refuses_random_frozen_ones(
    train: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = train("first")
    train("second", "--cfg-options", f"load_from={first}", "train.max_steps=1")
    train("third", "--cfg-options", f"load_from={first}", "model.width=9", expect=2)
    assert "belongs to another model: stem.0.weight: file (8, 5), model (9, 5)" in capsys.readouterr().err
    from safetensors.torch import save_file

    weights = read_weights(latest_checkpoint(first))
    save_file({key: value for key, value in weights.items() if "stem" not in key}, tmp_path / "head.safetensors")
    options = ("--cfg-options", f"load_from={tmp_path / 'head.safetensors'}")
    train("fourth", *options)
    train("fifth", *options, "optimizer.param_groups={'stem.*': {'frozen': True}}", expect=2)
    assert "lacks stem.0.weight and 3 more frozen parameters" in capsys.readouterr().err
    train("sixth", "--cfg-options", "load_from=no_such_weights", expect=2)
    assert "neither a path nor shipped weights" in capsys.readouterr().err
    train("seventh", "--cfg-options", "optimizer.param_groups={'stem.*': {'frozen': True}}", expect=2)
    assert "freezes stem.0.bias and 3 more parameters, which would stay random" in capsys.readouterr().err


def test_a_validation_that_fails_costs_no_training(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("data.val={'type': 'ToyDataset', 'broken': 0}", "train.val_every=0")
    folder = train("run", "--cfg-options", *options, expect=2)
    assert "sample 0 is truncated" in capsys.readouterr().err
    checkpoint = latest_checkpoint(folder)
    assert checkpoint is not None and read_meta(checkpoint)["step"] == 10


def test_frozen_parts_and_statistics_stay_bit_equal(train: Train) -> None:
    folder = train(
        "frozen",
        "--cfg-options",
        f"load_from={train('first')}",
        "optimizer.param_groups={'stem.*': {'frozen': True}}",
        "train.save_every=1",
        "train.keep=0",
    )
    first, last = (read_weights(folder / "checkpoints" / f"step_{step:07d}") for step in (1, 10))
    assert all((first[key] == last[key]).all() for key in first if key.startswith("stem."))
    assert not any((first[key] == last[key]).all() for key in first if key.startswith("pts_bbox_head."))


def test_bf16_trains_and_keeps_float32_weights(train: Train) -> None:
    folder = train("bf16", "--cfg-options", "train.precision=bf16", "train.max_steps=3")
    weights = read_weights(latest_checkpoint(folder))
    assert {str(value.dtype) for value in weights.values()} == {"torch.float32", "torch.int64"}
    assert all(json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["train.precision=fp16"], "needs a GPU"),
        (["train.precision=fp8"], "train.precision is 'fp8'"),
        (["train.gradient_checkpointing=all"], "train.gradient_checkpointing is 'all'; set True, False or None"),
        (["train.epochs=2"], "set one and leave the other None"),
        (["train.log_every=0"], "train.log_every is 0"),
        (["train.save_every=None"], "train.save_every is None; it must be a whole number from 0."),
        (["train.val_every=-1"], "train.val_every is -1; it must be a whole number from 0, or None."),
        (["train.accumulate=True"], "train.accumulate is True; it must be a whole number from 1."),
        (["optimizer.betas=[0.9,1.5]"], "optimizer.betas is [0.9, 1.5]; give two numbers from 0 to below 1"),
        (["data.batch_size=0"], "data.batch_size is 0"),
        (["optimizer.type=SGD"], "optimizer.type is 'SGD'"),
        (["optimizer.lr=0.0"], "optimizer.lr is 0.0"),
        (["data.train.length=0"], "data.train holds no sample"),
        (["data.train.broken=1"], "sample 1 is truncated"),
        (["train.grad_clip=-1.0"], "train.grad_clip is -1.0"),
        (["seed=-1"], "seed is -1; give a whole number"),
    ],
)
def test_wrong_settings_are_one_sentence(
    train: Train, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    train("wrong", "--cfg-options", *options, expect=2)
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown
