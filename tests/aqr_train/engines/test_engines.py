"""Every engine on two real processes trains the tiny AQR detector as one process does, and resumes to the last bit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aqr_core.checkpoint import load_weights, read_weights
from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_train.checkpoints import latest_checkpoint, read_trainer_state, step_folder
from aqr_train.cli import main

sys.path.insert(0, str(Path(__file__).parents[1]))
from forked_runs import Outcome, Run, carry_out  # noqa: E402

# Two processes add the same gradients in another order than one, and Adam divides small gradients by themselves: four
# updates differ by at most so much of their length. Measured: 3e-3.
UPDATE_TOLERANCE = 2e-2
LOSS_TOLERANCE = 1e-4
ZERO = {"ACCELERATE_USE_CPU": "false", "ACCELERATE_USE_DEEPSPEED": "true", "CUDA_VISIBLE_DEVICES": ""}
ENVIRONMENTS = {
    "DDP": {},
    **{f"ZeRO-{stage}": {**ZERO, "ACCELERATE_DEEPSPEED_ZERO_STAGE": stage} for stage in "123"},
    "FSDP2": {"ACCELERATE_USE_FSDP": "true"},
}
# AQR v3 with frozen backbones, recomputation and two micro-batches per update. One process normalises by the statistics
# of all samples, two by those of theirs each; in `shared_conv`, the one normalisation that trains, they are fixed here.
CONFIG = """
_base_ = "{base}"
dataroot = "{root}"
data = dict(num_workers=0, train=dict(infos="infos_mini_train.jsonl"), val=dict(infos="infos_mini_val.jsonl"))
optimizer = dict(param_groups={{"pts_bbox_head.shared_conv.*": dict(lr_mult=0.5, norm_eval=True)}})
train = dict(
    max_steps=4, accumulate=2, gradient_checkpointing=True, val_every=0, picture_every=0, log_every=1, save_every=2,
    keep=0
)
schedule = dict(warmup_steps=2)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config on eighteen synthetic keyframes."""
    folder = tmp_path_factory.mktemp("engines")
    root = folder / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--preset", "tiny"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    from aqr_train.configs import __file__ as configs

    path = folder / "tiny.py"
    path.write_text(CONFIG.format(base=Path(configs).parent / "cmt_aqr_tiny.py", root=root))
    return path


@pytest.fixture(scope="module")
def runs(config: Path) -> dict[str, Outcome]:
    """One process with the whole batch, every engine on two, each resumed in its middle, and ZeRO-2 resumed alone."""
    folder, one, two = config.parent, ("data.batch_size=2",), ("data.batch_size=1",)
    brief = ("train.val_every=None", "train.picture_every=None")
    plan = [Run("alone", one + brief)]
    for kind, environment in ENVIRONMENTS.items():
        half = str(step_folder(folder / kind, 2))
        plan += [
            Run(kind, two, processes=2, environment=environment),
            Run(f"{kind}-resumed", two + brief, resume=half, processes=2, environment=environment),
        ]
    plan.append(Run("from-zero", one + brief, resume=str(step_folder(folder / "ZeRO-2", 2))))
    outcomes = carry_out(config, [replace(run, toy_score=False) for run in plan])
    return {run.work_dir: outcome for run, outcome in zip(plan, outcomes, strict=True)}


@pytest.fixture(scope="module")
def alone(config: Path, runs: dict[str, Outcome]) -> Path:
    """The work dir of one process with the whole batch."""
    return _done(runs, "alone", config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_two_processes_train_as_one_does_and_resume_to_the_last_bit(
    kind: str, config: Path, runs: dict[str, Outcome], alone: Path
) -> None:
    together, resumed = (_done(runs, name, config) for name in (kind, f"{kind}-resumed"))
    log = (together / "log.txt").read_text()
    assert f"processes         2 ({kind}, cpu)" in log and "parts in the backward pass" in log

    for one, two in zip(_losses(alone), _losses(together), strict=True):
        assert two == pytest.approx(one, rel=LOSS_TOLERANCE)
    started = build_detector(load_config(alone / "config.py").model)
    load_weights(started, "packages/aqr_train/src/aqr_train/weights/cmt_tiny", strict=False)
    begun, (one, two) = started.state_dict(), (read_weights(latest_checkpoint(folder)) for folder in (alone, together))
    trained = {name for name, parameter in started.named_parameters()} - _frozen(alone)
    moved = _length({name: one[name] - begun[name].numpy() for name in trained if "aqr" not in name})
    apart = _length({name: one[name] - two[name] for name in trained if "aqr" not in name})
    assert 0 < moved and apart < UPDATE_TOLERANCE * moved
    assert all((one[name] == two[name]).all() for name in _frozen(alone))

    # The published weights are whole, frozen ones included, and load into a plain model.
    load_weights(started, latest_checkpoint(together), strict=True)

    first, second = (step_folder(folder, 4) for folder in (together, resumed))
    weights, others = read_weights(first), read_weights(second)
    assert all((weights[name] == others[name]).all() for name in weights)
    state, other = (read_trainer_state(folder) for folder in (first, second))
    assert state["engine"] == kind and state["optimizer"].keys() == trained
    for name, moments in state["optimizer"].items():
        assert all(torch.equal(value, other["optimizer"][name][key]) for key, value in moments.items())


@pytest.mark.slow
def test_a_run_of_zero_goes_on_in_one_process(config: Path, runs: dict[str, Outcome], alone: Path) -> None:
    """Moments and position mean the same in every engine."""
    one = _done(runs, "from-zero", config)
    assert "no longer bitwise the same" in (one / "log.txt").read_text()
    for a, b in zip(_losses(alone)[2:], _losses(one), strict=True):
        assert a == pytest.approx(b, rel=LOSS_TOLERANCE)


def _done(runs: dict[str, Outcome], name: str, config: Path) -> Path:
    """The work dir of a run that ended well."""
    assert not any(runs[name].codes), runs[name].text
    return config.parent / name


def _losses(work_dir: Path) -> list[float]:
    records = [json.loads(line) for line in (work_dir / "scalars.jsonl").read_text().splitlines()]
    return [record["train/loss"] for record in records if "train/loss" in record]


def _frozen(work_dir: Path) -> set[str]:
    model = build_detector(load_config(work_dir / "config.py").model)
    parts = ("img_backbone.", "pts_middle_encoder.", "pts_backbone.")
    return {name for name, _ in model.named_parameters() if name.startswith(parts)}


def _length(tensors: dict[str, torch.Tensor]) -> float:
    return float(sum((torch.as_tensor(value).double() ** 2).sum() for value in tensors.values()) ** 0.5)
