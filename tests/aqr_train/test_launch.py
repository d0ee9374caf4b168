"""Start-up checks, and the losses of two processes against those of one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aqr_core.errors import ConfigError
from aqr_train.processes import start_accelerator
from aqr_train.settings import TrainSettings

# Two processes add the same gradients in another order than one: float32 rounding, which ten steps of AdamW amplify.
RELATIVE_TOLERANCE = 1e-4
FIXED_NORM = "optimizer.param_groups={'stem.*': {'norm_eval': True}}"

# What each of the processes runs: the toy's training.
CHILD = """
import importlib.util, sys

spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
sys.exit(toy.main(["train", *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does(
    train: Callable[..., Path], scalars: Callable[[Path], list[dict[str, float]]], toy_config: Path, tmp_path: Path
) -> None:
    script, two = tmp_path / "child.py", tmp_path / "two"
    script.write_text(CHILD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command += [str(Path(__file__).with_name("conftest.py")), str(toy_config), "--work-dir", str(two)]
    command += ["--cfg-options", "data.batch_size=2", FIXED_NORM]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    alone, together = scalars(train("one", "--cfg-options", "data.batch_size=4", FIXED_NORM)), scalars(two)
    assert len(alone) == len(together) == 10
    for a, b in zip(alone, together, strict=True):
        for name in ("train/loss", "train/loss_center", "train/loss_rest"):
            assert a[name] == pytest.approx(b[name], rel=RELATIVE_TOLERANCE)


def test_one_process_where_several_were_asked_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="asked for several processes and started one"):
        start_accelerator(TrainSettings(max_steps=1), {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "True"})


def test_processes_that_accelerate_does_not_see_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 processes were asked for .MULTI_CPU., Accelerate runs 1"):
        start_accelerator(TrainSettings(max_steps=1), {"WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "1"})


def test_precision_of_launcher_and_config_must_agree() -> None:
    with pytest.raises(ConfigError, match="launcher asks for mixed precision 'bf16', the config for 'fp32'"):
        start_accelerator(TrainSettings(max_steps=1), {"ACCELERATE_MIXED_PRECISION": "bf16"})


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        start_accelerator(TrainSettings(max_steps=1, precision="fp16"), {"ACCELERATE_USE_CPU": "true"})


ZERO = {"ACCELERATE_USE_DEEPSPEED": "true", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({**ZERO, "ACCELERATE_USE_CPU": "true"}, "ACCELERATE_USE_CPU turns DeepSpeed into plain DDP; unset it"),
        ({**ZERO, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "0"}, "asks for DeepSpeed with ZeRO stage '0'; use stage 1, 2 or"),
        ({"ACCELERATE_USE_FSDP": "true", "ACCELERATE_USE_CPU": "1"}, "FSDP2 needs a process group and there is none"),
    ],
)
def test_a_launch_that_would_run_something_else_is_refused(environment: dict[str, str], message: str) -> None:
    pytest.importorskip("deepspeed")
    with pytest.raises(ConfigError, match=message):
        start_accelerator(TrainSettings(max_steps=1), environment)


def test_deepspeed_without_deepspeed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aqr_train.processes.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="DeepSpeed, but deepspeed is not installed; run `pip install 'aqr-train"):
        start_accelerator(TrainSettings(max_steps=1), {**ZERO, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"})
