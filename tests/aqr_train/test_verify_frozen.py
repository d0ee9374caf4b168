"""`aqr verify-frozen`: what it prints of sound configs, and which faults it names in broken ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.registry import MODELS
from aqr_core.structures import Batch
from aqr_train.cli import main
from aqr_train.freezing.held import held_modules, modules_within
from aqr_train.freezing.probe import Probe
from aqr_train.freezing.shards import local_part

Verify = Callable[..., str]
FROZEN_STEM = "optimizer.param_groups={'stem.*': {'frozen': True}}"
SOUND = "Frozen is frozen, and all else learns."
Toy = MODELS.get("ToyDetector")


@MODELS.register_module(force=True)
class BrokenToy(Toy):  # type: ignore[misc, valid-type]
    """Does on purpose what breaks fine-tuning runs; `how` is the way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        if "unused" in how:
            self.spare = nn.Linear(2, 2)
        if how == "silenced":  # the slope of relu at -1 is 0
            self.gate = nn.Parameter(torch.tensor([-1.0]))
        if how == "huge":  # its neighbours in float32 are 64 away
            self.gate = nn.Parameter(torch.tensor([1e9]))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        if self.how == "norm trains":
            self.stem[1].training = True
        if "weights drift" in self.how:
            local_part(self.stem[0].weight).add_(0.125)
        if self.how == "has a graph":
            self.stem[0].requires_grad_(True)
        losses: dict[str, torch.Tensor] = super().forward(batch)
        if hasattr(self, "gate"):
            losses["loss"] = losses["loss"] + self.gate.relu().sum() * 1e-3
        return losses


@pytest.fixture
def verify(toy_config: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    """`verify(*options, expect=0)` runs the command on the toy, and returns what it printed."""

    def run(*arguments: str, expect: int = 0) -> str:
        assert main(["verify-frozen", str(toy_config), *arguments]) == expect
        shown = capsys.readouterr()
        return shown.out + shown.err

    return run


def broken(how: str) -> tuple[str, ...]:
    return ("--random", "--cfg-options", "model.type=BrokenToy", f"model.how={how}", FROZEN_STEM)


def test_the_table_of_a_sound_config(verify: Verify) -> None:
    shown = verify("--random", "--cfg-options", FROZEN_STEM)
    assert "3 steps, one process, fp32" in shown and SOUND in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert rows["stem.*"] == ["4", "64", "no", "-", "-", "eval", "0", "0"]
    # The rate is the highest of the schedule; three updates of AdamW move a number by three rates at most, and decay.
    tensors, numbers, trains, lr, decay, norms, weights, buffers = rows["(all"][1:]
    assert (tensors, numbers, trains, lr, decay, norms, buffers) == ("2", "81", "yes", "1.0e-02", "1.0e-02", "-", "0")
    assert 0 < float(weights) < 0.0305
    assert max(map(len, shown.splitlines()[1:])) <= 100  # the first line names the config by its path


def test_norm_eval_and_training_norms_are_told_apart(verify: Verify) -> None:
    shown = verify("--cfg-options", "optimizer.param_groups={'stem.*': {'norm_eval': True}}", "model.width=4")
    stem = next(line for line in shown.splitlines() if line.split()[:1] == ["stem.*"])
    assert stem.split()[6] == "eval" and stem.split()[8] == "0"
    every = next(line for line in verify().splitlines() if "(all others)" in line)
    assert every.split()[7] == "train" and float(every.split()[9]) > 0


def test_weights_come_from_the_checkpoint(verify: Verify, train: Callable[..., Path]) -> None:
    checkpoint = train("first")
    assert SOUND in verify("--checkpoint", str(checkpoint), "--steps", "1", "--cfg-options", FROZEN_STEM)


def test_without_weights_for_frozen_parts_it_says_what_to_do(verify: Verify) -> None:
    shown = verify("--cfg-options", FROZEN_STEM, expect=2)
    assert "would stay random because load_from is not set" in shown and "verify-frozen` also takes --random" in shown


def test_norm_in_train_mode_in_a_frozen_part(verify: Verify) -> None:
    shown = verify(*broken("norm trains"), expect=1)
    assert "fault: stem.1 is to stay in evaluation mode and ran in train mode." in shown
    assert "fault: stem.1.running_mean is a buffer of a part that keeps its statistics and changed by up to" in shown
    stem = next(line for line in shown.splitlines() if line.split()[:1] == ["stem.*"])
    assert stem.split()[6] == "train" and "4 faults." in shown  # the mode and three buffers


def test_a_misspelt_group_is_an_error_with_a_near_miss(verify: Verify) -> None:
    shown = verify("--random", "--cfg-options", "optimizer.param_groups={'stme.*': {'frozen': True}}", expect=2)
    assert "'stme.*' matches no parameter. Did you mean" in shown and "'stem.*'" in shown


def test_frozen_weights_that_something_writes_to(verify: Verify) -> None:
    shown = verify(*broken("weights drift"), expect=1)
    assert "fault: stem.0.weight is frozen and changed by up to 3.8e-01.\n1 fault." in shown  # 3 x 0.125


def test_a_frozen_part_that_keeps_a_graph(verify: Verify) -> None:
    shown = verify(*broken("has a graph"), expect=1)
    assert "fault: stem is frozen and nothing before it learns, and yet it ran with a graph" in shown
    assert "stem.0 is" not in shown  # the outermost says it


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("unused", "spare.weight trains, but no gradient came to it: no loss depends on it."),
        ("silenced", "gate trains, but its gradient was exactly zero in each of 3 steps."),
        ("huge", "gate trains, but even the highest rate changed no number of it: it is too small for float32."),
    ],
)
def test_a_trainable_parameter_that_does_not_learn(verify: Verify, how: str, fault: str) -> None:
    assert f"fault: {fault}" in verify(*broken(how), "optimizer.weight_decay=0.0", expect=1)


def test_decay_does_not_pass_for_learning(verify: Verify) -> None:
    """It moves the silenced parameter, whose gradient is zero all the same."""
    shown = verify(*broken("silenced"), "optimizer.weight_decay=0.1", expect=1)
    assert "gate trains, but its gradient was exactly zero" in shown


@pytest.mark.parametrize(("steps", "expect", "message"), [("0", 2, "--steps is 0"), ("99", 0, ": 10 steps")])
def test_number_of_steps(verify: Verify, steps: str, expect: int, message: str) -> None:
    """At most those of the run."""
    assert message in verify("--random", "--steps", steps, "--cfg-options", FROZEN_STEM, expect=expect)


def test_a_step_that_is_not_finite_leaves_its_batch(verify: Verify) -> None:
    """What the error names is there, though nothing else of the run is."""
    shown = verify("--steps", "9", "--cfg-options", "model.nan_at=token3", expect=2)
    saved = re.search(r"[^ '\"]*step_\d+_rank_0\.pt", shown)
    assert saved is not None and Path(saved[0]).is_file(), shown
    shutil.rmtree(Path(saved[0]).parents[1])


def test_a_frozen_part_behind_one_that_learns_may_have_a_graph() -> None:
    """It must pass the gradient on."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    frozen = [name for name, _ in model.named_parameters() if name.startswith("1.")]
    model[1].requires_grad_(False).eval()
    probe = Probe(model, held_modules(model, frozen), modules_within(model, frozen))
    with probe.watching():
        model(torch.zeros(3, 2))
    assert not probe.graphs and probe.trains == {"1": False, "1.0": False, "1.1": False}
    assert not model[1]._forward_hooks


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that point a tiny config at one small scene."""
    root = tmp_path_factory.mktemp("synthetic") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "1", "--preset", "tiny"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini", "--splits", "mini_train"]) == 0
    return ("--dataroot", str(root), "--cfg-options", "data.train.infos=infos_mini_train.jsonl", "data.num_workers=0")


@pytest.mark.parametrize(
    "config",
    [
        "cmt_aqr_tiny",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cmt_aqr_v1_tiny", "cmt_aqr_v2_tiny", "cmt_router_tiny", "cmt_aqr_tiny_scratch", "cmt_tiny")
        ),
    ],
)
def test_shipped_configs_in_small(synthetic: tuple[str, ...], config: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["verify-frozen", config, *synthetic])
    shown = capsys.readouterr().out
    assert code == 0 and SOUND in shown, shown


# What each of the processes runs: the toys of this file, known under their names, and the command.
CHILD = """
import importlib.util, sys

for path in sys.argv[1:3]:
    spec = importlib.util.spec_from_file_location("toys", path)
    toys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toys)
sys.exit(toys.main(sys.argv[3:]))
"""
LAUNCHES = {
    "DDP": {"ACCELERATE_USE_CPU": "true"},
    "FSDP2": {"ACCELERATE_USE_CPU": "true", "ACCELERATE_USE_FSDP": "true"},
    "ZeRO-2": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"},
    "ZeRO-3": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAUNCHES)
def test_two_processes_find_the_same_faults(kind: str, toy_config: Path, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command += [str(Path(__file__).with_name("conftest.py")), __file__, "verify-frozen", str(toy_config)]
    command += broken("weights drift, unused")
    environment = {**os.environ, **LAUNCHES[kind], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count(f": 3 steps, {kind}, fp32") == 1  # one process prints
    assert "fault: stem.0.weight is frozen and changed by up to 3.8e-01." in done.stdout
    assert "fault: spare.weight trains, but" in done.stdout
