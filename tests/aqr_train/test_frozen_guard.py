"""Hashes of frozen tensors, and the callback that compares them at the ends of every run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from aqr_core.checkpoint import WEIGHTS
from aqr_core.checkpoint.checksums import write_checksums
from aqr_train.checkpoints import STATE, latest_checkpoint, read_trainer_state
from aqr_train.freezing.fingerprint import fingerprint, fingerprints
from aqr_train.freezing.held import held_tensors

Train = Callable[..., Path]
FROZEN_STEM = "optimizer.param_groups={'stem.*': {'frozen': True}}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_one_changed_bit_changes_the_hash(dtype: torch.dtype) -> None:
    tensor = (torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 50).to(dtype)
    before = int(fingerprint(tensor))
    raw = tensor.view(torch.uint8).flatten()  # shares the memory
    for byte in range(raw.numel()):
        for bit in range(1 if dtype == torch.bool else 8):
            raw[byte] ^= 1 << bit
            assert int(fingerprint(tensor)) != before
            raw[byte] ^= 1 << bit


def test_the_hash_by_hand() -> None:
    """h(b) = b (2 b + 1): 3 + 10 + 21."""
    assert int(fingerprint(torch.tensor([1, 2, 3]))) == 34
    assert int(fingerprint(torch.zeros(0))) == 0
    assert int(fingerprint(torch.tensor([0.0]))) != int(fingerprint(torch.tensor([-0.0])))
    nan = torch.tensor([torch.nan, 1.0])
    assert int(fingerprint(nan)) == int(fingerprint(nan.clone()))


def test_flipped_signs_do_not_cancel() -> None:
    """In a plain sum of bit patterns they would."""
    assert int(fingerprint(torch.tensor([1.5, -2.5]))) != int(fingerprint(torch.tensor([-1.5, 2.5])))


def test_hashes_of_parts_add_up_to_that_of_the_whole() -> None:
    """Shards are hashed where they are; more numbers than a chunk holds."""
    tensor = torch.randn((1 << 20) + 1000, generator=torch.Generator().manual_seed(0))
    total = sum(int(fingerprint(part)) for part in tensor.chunk(3))
    assert (total - int(fingerprint(tensor))) % 2**64 == 0
    assert fingerprints({"a": tensor.view(-1, 8)}, Accelerator(cpu=True)) == {"a": int(fingerprint(tensor))}


def test_held_are_frozen_parameters_and_fixed_statistics() -> None:
    model = nn.ModuleDict(
        {
            "frozen": nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2, affine=False)),
            "fixed": nn.BatchNorm1d(2),
            "free": nn.BatchNorm1d(2),
        }
    )
    held = held_tensors(model, {"frozen.0.weight", "frozen.0.bias"}, [model["fixed"]])
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    expected = {"frozen.0.weight", "frozen.0.bias"}
    assert set(held) == expected | {f"{norm}.{name}" for norm in ("frozen.1", "fixed") for name in statistics}


@pytest.fixture
def drifting(toy: object, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`drifting(n)`: in forward pass number n the toy writes to its stem."""

    def at(number: int) -> None:
        passes, forward = [0], toy.forward  # type: ignore[attr-defined]

        def writes(self: nn.Module, batch: object) -> object:
            passes[0] += 1
            if passes[0] == number:
                with torch.no_grad():
                    self.stem[0].weight[0, 0] += 1e-6  # type: ignore[index, union-attr]
            return forward(self, batch)

        monkeypatch.setattr(toy, "forward", writes)

    return at


@pytest.fixture
def toy() -> object:
    from aqr_core.registry import MODELS

    return MODELS.get("ToyDetector")


@pytest.fixture
def frozen(train: Train) -> tuple[str, ...]:
    """Options that freeze the stem at trained weights."""
    return ("--cfg-options", f"load_from={train('first')}", FROZEN_STEM, "train.save_every=4", "train.keep=0")


def test_a_run_that_keeps_them_ends_well_and_resumes(train: Train, frozen: tuple[str, ...]) -> None:
    folder = train("run", *frozen)
    assert "7 frozen tensors are watched" in (folder / "log.txt").read_text()
    hashes = read_trainer_state(latest_checkpoint(folder))["callbacks"][0]["FrozenGuard"]["hashes"]
    weights = load_file(latest_checkpoint(folder) / WEIGHTS)
    assert hashes == {name: int(fingerprint(weights[name])) for name in weights if name.startswith("stem.")}
    (folder / "checkpoints" / "latest").write_text("step_0000004\n")
    train("run", *frozen, "--resume")


def test_drift_is_an_error_behind_the_last_checkpoint(
    train: Train, frozen: tuple[str, ...], drifting: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    drifting(6)
    folder = train("run", *frozen, expect=2)
    message = capsys.readouterr().err
    assert "Frozen tensors have changed since the run began, seen at step 10: stem.0.weight; find what" in message
    assert latest_checkpoint(folder).name == "step_0000010"  # what trained is saved
    drifting(0)
    train("run", *frozen, "train.max_steps=12", "--resume", expect=2)  # and no run goes on from it
    assert "seen at step 10: stem.0.weight" in capsys.readouterr().err


def test_drift_between_the_parts_of_a_run_is_seen(
    train: Train, frozen: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("run", *frozen)
    checkpoint = folder / "checkpoints" / "step_0000004"
    state = read_trainer_state(checkpoint)
    state["callbacks"][0]["FrozenGuard"]["hashes"]["stem.1.running_mean"] += 1  # as if the weights were of another run
    torch.save(state, checkpoint / STATE)
    write_checksums(checkpoint)
    (checkpoint.parent / "latest").write_text("step_0000004\n")
    train("run", *frozen, "--resume", expect=2)
    assert "seen at step 4: stem.1.running_mean" in capsys.readouterr().err


def test_a_resumed_run_may_free_what_was_frozen(train: Train, frozen: tuple[str, ...]) -> None:
    folder = train("run", *frozen)
    train("freed", "--resume", str(folder), "--cfg-options", "train.max_steps=12")
    assert "frozen tensors are watched" not in (folder.parent / "freed" / "log.txt").read_text()


def test_nothing_frozen_costs_nothing(train: Train) -> None:
    folder = train("run")
    assert read_trainer_state(latest_checkpoint(folder))["callbacks"][0]["FrozenGuard"] == {"hashes": {}}
