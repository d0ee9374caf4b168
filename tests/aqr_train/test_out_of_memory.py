"""Real allocations that fail, in one process, in one of two, and in the loader."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aqr_core.registry import DATASETS, MODELS
from aqr_core.structures import Batch, Sample
from aqr_train.out_of_memory import GIB, is_out_of_memory, switches

from .conftest import ToyDataset, ToyDetector

Train = Callable[..., Path]


@MODELS.register_module(force=True)
class HungryToy(ToyDetector):
    """Asks for four petabytes when it sees a sample; has a part that could recompute."""

    def __init__(self, at: str = "token4", device: str = "cpu") -> None:
        super().__init__()
        self.at, self.device = at, device
        self.stem.with_cp = False

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        losses = super().forward(batch)
        if self.at in batch.tokens:
            losses["loss"] = losses["loss"] + torch.empty(2**50, device=self.device).sum()
        return losses


@DATASETS.register_module(force=True)
class HungryDataset(ToyDataset):
    """Does so for its fourth sample."""

    def __getitem__(self, index: int) -> Sample:
        if index == 4:
            bytearray(2**62)
        return super().__getitem__(index)


def test_a_failed_allocation_is_one_sentence(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("run", "--cfg-options", "model.type=HungryToy", expect=2)
    message = capsys.readouterr().err
    assert "ran out of memory on cpu of process 0, which had used " in message and "Traceback" not in message
    assert "data.batch_size=2, images of 1x3x4x4 and train.precision=fp32; what helps most: " in message
    assert "train.gradient_checkpointing=True" in message and "train.precision=bf16" in message
    assert "data.batch_size=1 with train.accumulate=2 (the same update)" in message


def test_what_is_switched_already_is_not_advised(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("data.batch_size=1", "train.precision=bf16", "train.gradient_checkpointing=True")
    options += ("optimizer.param_groups={'stem.*': {'norm_eval': True}}",)  # one sample has no statistics
    train("run", "--cfg-options", "model.type=HungryToy", *options, expect=2)
    advice = capsys.readouterr().err.split("what helps most: ")[1]
    assert "freezing more of the model" in advice and "smaller images" in advice
    assert not any(words in advice for words in ("batch_size", "bf16", "gradient_checkpointing", "ZeRO"))


def test_a_model_that_does_not_fit(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("run", "--cfg-options", f"model.width={2**50}", expect=2)
    message = capsys.readouterr().err
    assert "no memory left on cpu for model and optimiser" in message and "ZeRO-3" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_without_memory(train: Train, capsys: pytest.CaptureFixture[str], workers: int) -> None:
    options = ("data.train.type=HungryDataset", f"data.num_workers={workers}")
    train("run", "--cfg-options", *options, expect=2)
    message = capsys.readouterr().err
    if workers:
        assert "ran out of memory on a worker of the loader" in message and "data.num_workers below 1" in message
    else:
        assert "ran out of memory on cpu" in message


def test_other_errors_pass() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")) and is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDNN_STATUS_ALLOC_FAILED"))
    assert is_out_of_memory(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError("out of memory"))


def test_savings_of_a_gpu_are_told_in_gib() -> None:
    """A weight of one GiB, on two processes: gradients and moments are three, the reducer's copy one."""
    with torch.device("meta"):
        model = nn.Linear(2**14, 2**14, bias=False)
    assert model.weight.numel() * 4 == GIB
    accelerator = SimpleNamespace(device=torch.device("cuda"), num_processes=2, state=SimpleNamespace())
    engine = SimpleNamespace(kind="DDP", plain_model=model, accelerator=accelerator)
    data, settings = SimpleNamespace(batch_size=6), SimpleNamespace(accumulate=1, precision="fp32")
    trainer = SimpleNamespace(accelerator=accelerator, data=data, settings=settings, engine=engine)
    found = {switch.words.split()[0]: switch for switch in switches(trainer, peak=15.0)}  # type: ignore[arg-type]
    # 15 - (weights 1 + gradients 1 + moments 2 + copy 1) are activations, of which half a batch saves half.
    assert found["data.batch_size=3"].saves == pytest.approx(5.0) and found["data.batch_size=3"].known
    assert "gradient" not in " ".join(found)  # nothing here can recompute


# One of two processes; the other waits for its gradients.
CHILD = """
import importlib.util, sys

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)

import torch
from aqr_core.registry import MODELS


@MODELS.register_module()
class HungryToy(toy.ToyDetector):
    def forward(self, batch):
        losses = super().forward(batch)
        if "token4" in batch.tokens:
            losses["loss"] = losses["loss"] + torch.empty(2**50).sum()
        return losses


sys.exit(toy.main(["train", *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_one_of_two_processes_ends_both(toy_config: Path, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    toy_config.write_text(toy_config.read_text().replace("ToyDetector", "HungryToy"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command += [str(Path(__file__).with_name("conftest.py")), str(toy_config), "--work-dir", str(tmp_path / "run")]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and time.monotonic() - started < 90
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: Step 2 ran out of memory on cpu:0 of process 1, which had used ")


@pytest.mark.gpu
def test_the_sentence_of_a_gpu(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("run", "--cfg-options", "model.type=HungryToy", "model.device=cuda", expect=2)
    message = capsys.readouterr().err
    assert "ran out of memory on cuda" in message and "other processes and CUDA itself hold" in message
