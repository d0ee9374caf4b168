"""Runs that go on with other processes, batches or engines: what is kept, and what is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aqr_core.checkpoint import read_weights
from aqr_train.checkpoints import FOLDER, latest_checkpoint, step_folder

sys.path.insert(0, str(Path(__file__).parent))
from forked_runs import Run, carry_out, traces  # noqa: E402

# Gradients of several processes are added in another order than those of one, and ten steps of AdamW amplify that.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}
FIXED_NORM = "optimizer.param_groups={'stem.*': {'norm_eval': True}}"  # statistics are of each process's samples
ALL = ("train.save_every=4", "train.keep=0", FIXED_NORM)
ZERO = {"ACCELERATE_USE_CPU": "false", "ACCELERATE_USE_DEEPSPEED": "true"}
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def assert_close(work_dir: Path, other: Path) -> None:
    """The final weights, and every logged loss."""
    import torch

    first, second = (read_weights(latest_checkpoint(folder)) for folder in (work_dir, other))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, **TOLERANCE)
    a, b = ([line["train/loss"] for line in traces(folder)["scalars"]] for folder in (work_dir, other))
    assert b == pytest.approx(a, rel=1e-3)


@pytest.mark.slow
def test_one_process_goes_on_as_two_and_two_as_one(toy_config: Path) -> None:
    one, two = (*ALL, "data.batch_size=4"), (*ALL, "data.batch_size=2")
    parts = (*ALL, "data.batch_size=2", "train.accumulate=2")
    runs = [
        Run("whole", one),
        Run("as_two", two, resume=str(step_folder(toy_config.parent / "whole", 4)), processes=2),
        Run("as_one", one, resume=str(step_folder(toy_config.parent / "as_two", 8))),
        Run("in_parts", parts, resume=str(step_folder(toy_config.parent / "as_two", 8))),
    ]
    outcomes = carry_out(toy_config, runs)
    assert [outcome.codes for outcome in outcomes] == [[0], [0, 0], [0], [0]]
    folder = toy_config.parent
    records = {name: traces(folder / name)["scalars"] for name in ("whole", "as_two", "as_one", "in_parts")}
    for name, first in (("as_two", 5), ("as_one", 9), ("in_parts", 9)):
        assert [record["step"] for record in records[name]] == list(range(first, 11))
        for record in records[name]:  # the same samples at the same steps
            assert record["train/loss"] == pytest.approx(records["whole"][record["step"] - 1]["train/loss"], rel=1e-3)
    assert "Resuming on 2 processes a run of 1: the order of samples is kept" in outcomes[1].text
    assert "no longer bitwise" in outcomes[1].text and "Resuming on 1 processes a run of 2" in outcomes[2].text
    assert "samples per step" not in outcomes[1].text + outcomes[3].text


@pytest.mark.slow
def test_a_run_wanders_over_the_engines(toy_config: Path) -> None:
    pytest.importorskip("deepspeed")
    options = (*ALL, "data.batch_size=2")
    stage = "ACCELERATE_DEEPSPEED_ZERO_STAGE"
    ema = (*options, "train.ema=0.5")
    runs = [
        Run("whole", options, processes=2),
        Run(
            "zero",
            ema,
            resume=str(step_folder(toy_config.parent / "whole", 4)),
            processes=2,
            environment={**ZERO, stage: "2"},
        ),
        Run("fsdp", options, resume=str(step_folder(toy_config.parent / "zero", 8)), processes=2, environment=FSDP),
        Run("refused", ema, processes=2, environment=FSDP),
    ]
    whole, zero, fsdp, refused = carry_out(toy_config, runs)
    assert [outcome.codes for outcome in (whole, zero, fsdp, refused)] == [[0, 0], [0, 0], [0, 0], [2, 2]]
    assert "Resuming under ZeRO-2 a run of DDP" in zero.text and "Resuming under FSDP2 a run of ZeRO-2" in fsdp.text
    assert "FSDP2 leaves no process with whole weights to average" in refused.text
    assert not (toy_config.parent / "refused" / FOLDER).exists()
    expected = traces(toy_config.parent / "whole")["scalars"]
    for name in ("zero", "fsdp"):
        for record in traces(toy_config.parent / name)["scalars"]:
            assert record["train/loss"] == pytest.approx(expected[record["step"] - 1]["train/loss"], rel=1e-3)


def test_a_resumed_run_with_accumulation_is_bitwise_the_same(train: Callable[..., Path]) -> None:
    options = ("--cfg-options", "train.accumulate=2", "model.dropout=0.3", "train.save_every=4", "train.keep=0")
    whole = train("whole", *options)  # three steps per pass, so step 4 is inside one
    again = train("again", "--resume", str(step_folder(whole, 4)), *options)
    assert traces(whole)["files"] == traces(again)["files"]
    assert traces(whole)["scalars"][4:] == traces(again)["scalars"]


def test_another_batch_size_is_said(train: Callable[..., Path]) -> None:
    whole = train("whole")
    again = train("again", "--resume", str(step_folder(whole, 8)), "--cfg-options", "train.accumulate=2")
    assert "Resuming with 4 samples per step a run of 2" in (again / "log.txt").read_text()


def test_a_resumed_run_may_freeze_and_free_parts(train: Callable[..., Path]) -> None:
    freeze = "optimizer.param_groups={'stem.*': {'frozen': True}}"
    whole = train("whole", "--cfg-options", "train.keep=0")
    frozen = train("frozen", "--resume", str(step_folder(whole, 4)), "--cfg-options", freeze, "train.keep=0")
    freed = train("freed", "--resume", str(step_folder(frozen, 8)))
    folders = (step_folder(whole, 4), *(step_folder(work_dir, 10) for work_dir in (whole, frozen, freed)))
    start, trained, held, moved = (read_weights(folder)["stem.0.weight"] for folder in folders)
    assert (held == start).all() and (trained != start).any() and (moved != start).any()
    assert "Resuming with 4 parameters frozen that the run has trained, and 0" in (frozen / "log.txt").read_text()
    assert "Resuming with 0 parameters frozen that the run has trained, and 4" in (freed / "log.txt").read_text()
