"""Which checkpoints stay, which are named, and what happens when one cannot be written or read."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import read_weights
from aqr_train import assembly
from aqr_train.checkpoints import BEST, FOLDER, LATEST, STATE, latest_checkpoint, read_pointer

sys.path.insert(0, str(Path(__file__).parent))
from forked_runs import Run, carry_out  # noqa: E402

Train = Callable[..., Path]
VALIDATE = ("data.val={'type': 'ToyDataset'}", "train.val_every=2")


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """NDS by step, in the place of the nuScenes metric; an absent step fails."""
    table: dict[int, float] = {}

    class Scores:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __call__(self, model: nn.Module, folder: Path) -> dict[str, float]:
            return {"NDS": table[int(folder.name)], "mAP": 0.0}

    monkeypatch.setattr(assembly, "DatasetEvaluation", Scores)
    return table


def kept(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("step_00000") for path in (folder / FOLDER).iterdir())


def test_the_best_checkpoint_is_named_and_kept(train: Train, scores: dict[int, float]) -> None:
    scores |= {2: 0.1, 4: 0.5, 6: 0.3, 8: 0.5, 10: float("nan")}
    folder = train("run", "--cfg-options", *VALIDATE, "train.save_every=3", "train.keep=1")
    assert (folder / FOLDER / BEST).read_text() == "step_0000004\nNDS 0.5\n"  # the first of equal ones; NaN never
    assert kept(folder) == ["04", "10", BEST, LATEST]  # a validated step is a saved one


def test_a_resumed_run_knows_what_is_to_be_beaten(train: Train, scores: dict[int, float]) -> None:
    scores |= {2: 0.5, 4: 0.3, 6: 0.4, 8: 0.6}
    train("run", "--cfg-options", *VALIDATE, "train.keep=1", "train.max_steps=4")
    folder = train("run", "--resume", "--cfg-options", *VALIDATE, "train.keep=1", "train.max_steps=6")
    assert (read_pointer(folder / FOLDER / BEST), kept(folder)[:2]) == (("step_0000002", "NDS 0.5"), ["02", "06"])
    train("run", "--resume", "--cfg-options", *VALIDATE, "train.keep=1", "train.max_steps=8")
    assert (read_pointer(folder / FOLDER / BEST), kept(folder)[:1]) == (("step_0000008", "NDS 0.6"), ["08"])


def test_a_run_taken_back_forgets_later_checkpoints(train: Train, scores: dict[int, float]) -> None:
    scores |= {2: 0.1, 4: 0.2, 6: 0.3, 8: 0.4, 10: 0.5}
    folder = train("run", "--cfg-options", *VALIDATE, "train.keep=0")
    scores |= {6: 0.1}
    back = ("--resume", str(folder / FOLDER / "step_0000004"))
    train("run", *back, "--cfg-options", *VALIDATE, "train.keep=2", "train.max_steps=6")
    # Step 4 is no more the best, nor step 6; those of the old steps 8 and 10 do not count as the newest.
    assert read_pointer(folder / FOLDER / BEST)[0] == "step_0000006"
    assert read_pointer(folder / FOLDER / LATEST)[0] == "step_0000006"
    assert kept(folder)[:4] == ["04", "06", "08", "10"]


def test_another_metric_and_one_that_does_not_exist(train: Train, scores: dict[int, float]) -> None:
    scores |= {2: 0.1, 4: 0.2}
    folder = train("run", "--cfg-options", *VALIDATE, "train.max_steps=4", "train.best=mAP")
    assert read_pointer(folder / FOLDER / BEST) == ("step_0000002", "mAP 0.0")
    folder = train("other", "--cfg-options", *VALIDATE, "train.max_steps=4", "train.best=NSD")
    assert not (folder / FOLDER / BEST).exists()
    assert (
        "train.best is 'NSD', which validation does not give. Did you mean 'NDS'?" in (folder / "log.txt").read_text()
    )


@pytest.mark.parametrize("at", [4, 10])  # in the middle, and at the last step
def test_a_validation_that_was_killed_is_made_up_for(train: Train, scores: dict[int, float], at: int) -> None:
    scores |= {2: 0.1, 4: 0.2, 6: 0.3, 8: 0.4, 10: 0.5}
    lost = scores.pop(at)
    with pytest.raises(KeyError):
        train("run", "--cfg-options", *VALIDATE)
    scores[at] = lost
    folder = train("run", "--resume", "--cfg-options", *VALIDATE)
    records = [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]
    assert [(r["step"], r["val/NDS"]) for r in records if "val/NDS" in r] == sorted(scores.items())
    assert [r["step"] for r in records if "train/loss" in r] == list(range(1, 11))
    assert read_pointer(folder / FOLDER / BEST)[0] == "step_0000010"


def test_what_a_killed_run_left_is_swept(train: Train) -> None:
    folder = train("run", "--cfg-options", "train.max_steps=4")
    (folder / FOLDER / ".step_0000005.0123abcd.tmp" / "trainer").mkdir(parents=True)
    (folder / FOLDER / ".step_0000004.0123abcd.old").mkdir()
    (folder / FOLDER / ".latest.0123abcd.tmp").write_text("")
    (folder / ".scalars.jsonl.0123abcd.tmp").write_text("")
    (folder / FOLDER / ".mine").write_text("")
    train("run", "--resume")
    assert kept(folder) == [".mine", "08", "10", LATEST]
    assert not (folder / ".scalars.jsonl.0123abcd.tmp").exists()


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", str(STATE)])
@pytest.mark.parametrize("harm", [cut_short, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_refused_and_the_newest_good_one_named(
    train: Train, capsys: pytest.CaptureFixture[str], name: str, harm: Callable[[Path], None]
) -> None:
    folder = train("run", "--cfg-options", "train.save_every=1", "train.keep=4")
    bad, good = (folder / FOLDER / f"step_00000{step}" for step in ("10", "08"))
    harm(bad / name)
    (folder / FOLDER / "step_0000009" / STATE).write_text("neither is this one whole")
    train("run", "--resume", expect=2)
    message = capsys.readouterr().err
    assert f"continue from it with --resume {good}." in message and str(bad) in message
    assert message.count("error:") == 1 and "Traceback" not in message
    train("run", "--resume", str(good))
    assert latest_checkpoint(folder) == bad  # written again


def test_no_good_checkpoint_is_left(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("run", "--cfg-options", "train.keep=1")
    flip_a_bit(folder / FOLDER / "step_0000010" / "model.safetensors")
    train("run", "--resume", expect=2)
    assert "no other checkpoint of this run is whole, start again in another --work-dir." in capsys.readouterr().err


def test_a_pointer_to_nothing(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("run")
    shutil.rmtree(folder / FOLDER / "step_0000010")
    train("run", "--resume", expect=2)
    shown = capsys.readouterr().err
    assert "names 'step_0000010', which is no complete checkpoint" in shown
    assert f"--resume {folder / FOLDER / 'step_0000008'}." in shown
    (folder / FOLDER / LATEST).write_text("")
    train("run", "--resume", expect=2)
    assert "names '', which is no complete checkpoint" in capsys.readouterr().err
    train("run", "--resume", str(folder / FOLDER / "step_0000008"))  # heals the pointer
    assert latest_checkpoint(folder) == folder / FOLDER / "step_0000010"


def test_the_run_of_another_work_dir_does_not_go_into_a_used_one(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = train("first"), train("second")
    train("second", "--resume", str(first), expect=2)
    assert f"{second} already holds a run, and {first}" in capsys.readouterr().err


def test_published_weights_are_complete_and_float32(train: Train) -> None:
    weights = read_weights(latest_checkpoint(train("run", "--cfg-options", "train.precision=bf16")))
    toy = torch.nn.ModuleDict({"stem": nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8))})
    expected = {*toy.state_dict(), "pts_bbox_head.1.weight", "pts_bbox_head.1.bias"}
    assert set(weights) == expected
    assert {value.dtype for key, value in weights.items() if "num_batches" not in key} == {torch.float32}


@pytest.mark.slow
def test_a_full_disk_costs_one_checkpoint_and_hangs_nobody(toy_config: Path) -> None:
    # Weights take 0.4 MB, the trainer's state 0.6 MB; files end at 0.5 MB, or at 0.3 MB.
    options = ("model.width=5000", "train.save_every=2", "train.val_every=None")
    runs = [
        Run("run", (*options, "train.max_steps=4"), processes=2),
        Run("run", options, processes=2, largest_file=500_000),
        Run("run", options, processes=2, largest_file=300_000),
        Run("run", options, processes=2),
    ]
    first, no_state, no_weights, healed = carry_out(toy_config, runs)
    assert (first.codes, first.step) == ([0, 0], 4)
    for failed in (no_state, no_weights):
        assert (failed.codes, failed.step, failed.unfinished) == ([2, 2], 4, [])
        assert "step_0000006 cannot be written (File too large): it takes 1." in failed.text
        assert "MB are free; make room and continue with --resume, step_0000004 is whole." in failed.text
        assert "Traceback" not in failed.text
    assert (healed.codes, healed.step) == ([0, 0], 10)
