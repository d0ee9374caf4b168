"""Two and three processes predict what one does, where the samples do not divide evenly."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from aqr_core.data import collate
from aqr_core.structures import Detections
from aqr_eval import load_submission, write_submission
from aqr_train.cli import main
from aqr_train.cli import predict as predict_verb
from aqr_train.evaluation import DatasetEvaluation
from aqr_train.gathering import SharedCount
from aqr_train.inference import open_run
from aqr_train.launchers import find_launcher
from aqr_train.prediction import predict
from aqr_train.processes import end_processes, start_accelerator
from aqr_train.settings import TrainSettings

sys.path.insert(0, str(Path(__file__).parent))
from forked_ranks import carry_out  # noqa: E402

LENGTHS = (7, 5, 2, 1)  # by two and three: shares that differ by one, and none at all
FILES = ("submission.json", "metrics.json")


class Source:
    """Samples that are their own tokens, at the origin."""

    classes = ("car", "pedestrian")

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> str:
        return f"token{index}"

    def info(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(token=self[index], ego2global=np.eye(4), lidar=SimpleNamespace(lidar2ego=np.eye(4)))


class Tokens(list[str]):
    def to(self, device: torch.device) -> Tokens:
        return self


class ZeroToTwo(nn.Module):
    """Finds 0, 1 or 2 boxes of equal score in a sample, as many metres ahead as its number."""

    def predict(self, batch: Tokens) -> list[Detections]:
        numbers = [int(token.removeprefix("token")) for token in batch]
        boxes = [torch.tensor([[float(n), k, 0, 4, 2, 1.5, 0, 0, 0] for k in range(n % 3)]) for n in numbers]
        return [
            Detections(token, found.reshape(-1, 9), torch.ones(len(found)), torch.arange(len(found)))
            for token, found in zip(batch, boxes, strict=True)
        ]


def predict_tokens(folder: str) -> None:
    """On every process: one file per length, and how far the bar came."""
    accelerator = start_accelerator(TrainSettings(max_steps=1))
    for length in LENGTHS:
        for workers in (0, 1):
            told: list[tuple[int, int]] = []
            found = predict(
                ZeroToTwo(),
                Source(length),
                Tokens,
                accelerator,
                batch_size=2,
                num_workers=workers,
                progress=lambda *now, told=told: told.append(now),
            )
            assert (found is None) == (accelerator.process_index > 0)
            assert all(0 < done <= total == length for done, total in told) and told == sorted(told)
            if found is not None:
                write_submission(Path(folder) / f"{length}_{workers}.json", found)
    count = SharedCount(accelerator)
    count.add(1)
    accelerator.wait_for_everyone()
    assert count.add(0) == accelerator.num_processes
    end_processes(accelerator)


def aqr(*words: str) -> int:
    return main(list(words))


def validate(folder: str, *words: str) -> None:
    """What the trainer does, beside the same by the command: the scalars of every process."""
    parser = argparse.ArgumentParser()
    predict_verb.add_arguments(parser)
    inference = open_run(parser.parse_args(words))
    accelerator = inference.accelerator
    evaluation = DatasetEvaluation(inference.dataset, collate, accelerator, batch_size=2, num_workers=0)
    scalars = evaluation(inference.model, Path(folder))
    Path(folder, f"scalars{accelerator.process_index}.json").write_text(json.dumps(scalars))
    inference.end()


def test_no_sample_is_lost_or_doubled(tmp_path: Path) -> None:
    for processes in (1, 2, 3):
        (tmp_path / str(processes)).mkdir()
    carry_out(__file__, [(processes, "predict_tokens", [str(tmp_path / str(processes))]) for processes in (1, 2, 3)])
    for length in LENGTHS:
        found = load_submission(tmp_path / "1" / f"{length}_0.json")
        assert found.tokens == tuple(f"token{index}" for index in range(length))
        expected = [(index, k) for index in range(length) for k in range(index % 3)]
        assert found.boxes.translation[:, :2].tolist() == [list(map(float, pair)) for pair in expected]
        assert found.boxes.sample.tolist() == [index for index, _ in expected]
        files = [
            tmp_path / str(processes) / f"{length}_{workers}.json" for processes in (1, 2, 3) for workers in (0, 1)
        ]
        assert len({file.read_bytes() for file in files}) == 1


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name the shipped detector and five keyframes of a synthetic dataset, or two of them."""
    root = tmp_path_factory.mktemp("five") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    lines = (root / "infos_mini_val.jsonl").read_text().splitlines(keepends=True)
    for name, count in (("five", 5), ("two", 2)):
        (root / f"infos_{name}.jsonl").write_text("".join(lines[: count + 1]))
    return ["cmt_tiny", "cmt_tiny", "--dataroot", str(root), "--num-workers", "0", "--split"]


@pytest.mark.slow
def test_processes_find_and_score_what_one_does(five: list[str], tmp_path: Path) -> None:
    runs = []
    for processes in (1, 2, 3):
        for split in ("five", "two"):  # of two keyframes the third process has none
            runs.append((processes, "aqr", ["test", *five, split, "--out", str(tmp_path / f"{split}{processes}")]))
        val = tmp_path / f"val{processes}"
        runs.append((processes, "validate", [str(val), *five, "five", "--out", str(val)]))
    carry_out(__file__, runs)
    for split in ("five", "two"):
        for name in FILES:
            assert len({(tmp_path / f"{split}{processes}" / name).read_bytes() for processes in (1, 2, 3)}) == 1, name
    latency = json.loads((tmp_path / "five3" / "latency.json").read_text())
    assert (latency["processes"], latency["samples"], latency["batches"], latency["warmup"]) == (3, 5, 2, 1)
    metrics = json.loads((tmp_path / "five1" / "metrics.json").read_text())
    assert metrics["mAP"] > 0.2
    for processes in (1, 2, 3):
        folder = tmp_path / f"val{processes}"
        scalars = [json.loads((folder / f"scalars{rank}.json").read_text()) for rank in range(processes)]
        assert all(repr(own) == repr(scalars[0]) for own in scalars)  # NaN included
        assert scalars[0] == pytest.approx(metrics, abs=1e-4, nan_ok=True)  # of other batches
        assert len(load_submission(folder / "submission.safetensors").tokens) == 5


@pytest.mark.slow
def test_the_launcher_starts_verbs(five: list[str], tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(find_launcher("two_cpus"))]
    words = ["test", *five, "two", "--out", str(tmp_path), "--latency"]
    done = subprocess.run(
        [*launch, "-m", "aqr_train", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mAP_present") == 1
    assert json.loads((tmp_path / "latency.json").read_text())["processes"] == 2
    assert len(load_submission(tmp_path / "submission.safetensors").tokens) == 2
