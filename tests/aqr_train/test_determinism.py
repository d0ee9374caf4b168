"""A real detector with AQR on a CPU: the same seed gives the same bytes, and so does a run that was resumed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aqr_core.checkpoint import read_weights
from aqr_train.checkpoints import latest_checkpoint, step_folder
from aqr_train.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from forked_runs import traces  # noqa: E402


@pytest.fixture
def stochastic_again() -> Iterator[None]:
    """--deterministic holds for the process."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.slow
def test_the_tiny_detector_repeats_and_resumes_to_the_last_bit(tmp_path: Path, stochastic_again: None) -> None:
    root = tmp_path / "data"
    assert (
        main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1", "--preset", "tiny"]) == 0
    )
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    options = [
        "--cfg-options",
        f"dataroot={root}",
        "data.train.infos=infos_mini_train.jsonl",
        "data.val=None",
        "data.batch_size=1",
        "data.num_workers=2",
        "train.epochs=None",
        "train.max_steps=4",
        "train.accumulate=2",
        "train.ema=0.9",
        "train.save_every=2",
        "train.keep=0",
        "train.log_every=1",
    ]

    def train(name: str, *arguments: str) -> Path:
        command = ["train", "cmt_aqr_tiny_scratch", "--work-dir", str(tmp_path / name), "--deterministic", *arguments]
        assert main([*command, *options]) == 0
        return tmp_path / name

    first, second = train("first", "--seed", "7"), train("second", "--seed", "7")
    assert traces(first) == traces(second)
    # The bias scale, the clamp, the schedule, dropout and augmentation go on where they were.
    resumed = train("resumed", "--seed", "7", "--resume", str(step_folder(first, 2)))
    assert traces(first)["files"] == traces(resumed)["files"]
    other = read_weights(latest_checkpoint(train("other", "--seed", "8")))
    assert any((value != other[key]).any() for key, value in read_weights(latest_checkpoint(first)).items())
