"""Steps of the pipeline that end with an epoch (CMT's 15 + 5), through the real trainer and its resumption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqr_core.data import Frame
from aqr_core.infos import GroundTruth, Info, InfosHeader, LidarInfo
from aqr_core.infos.schema import header_to_record, info_to_record
from aqr_core.registry import TRANSFORMS
from aqr_train.cli import main

EPOCHS, STEPS_PER_EPOCH, SWITCH = 4, 3, 2
SEEN: list[tuple[str, bool]] = []  # token, pasted: what was loaded in this process

CONFIG = """
model = dict(type="ToyDetector")
data = dict(
    batch_size=2,
    num_workers=0,
    train=dict(
        type="NuScenesDataset",
        infos="infos.jsonl",
        class_balanced=True,
        pipeline=[
            dict(type="LoadAnnotations3D"),
            dict(type="DrawPoints"),
            dict(type="PasteBox", until_epoch=2),
            dict(type="Record"),
        ],
    ),
)
optimizer = dict(type="AdamW", lr=1e-2, weight_decay=0.01, param_groups={"stem.*": {"norm_eval": True}})
schedule = dict(type="cosine", warmup_steps=2)
train = dict(epochs=4, log_every=1, save_every=0, val_every=None, grad_clip=10.0, keep=0)
seed = 3
"""


@TRANSFORMS.register_module(force=True)
class DrawPoints:
    """A cloud that depends on the frame's generator alone."""

    def __call__(self, frame: Frame) -> None:
        frame.points = frame.rng.normal(size=(20, 5)).astype(np.float32)


@TRANSFORMS.register_module(force=True)
class PasteBox:
    """A box so far away that no loss can miss it."""

    def __call__(self, frame: Frame) -> None:
        frame.gt_boxes = np.concatenate([frame.gt_boxes, np.full((1, 9), 100.0 + frame.rng.uniform())])
        frame.gt_labels = np.append(frame.gt_labels, 0)


@TRANSFORMS.register_module(force=True)
class Record:
    """Notes what the trainer is given."""

    def __call__(self, frame: Frame) -> None:
        SEEN.append((frame.info.token, len(frame.gt_boxes) == 2))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Six keyframes with a car each, and the config that trains on them."""
    lines = [header_to_record(InfosHeader("v1.0-mini", "mini_train"))]
    lines[0]["cameras"] = ["CAM_FRONT"]
    for i in range(6):
        box, one = np.array([[i, 0, 0, 4, 2, 1.5, 0, 0, 0]], float), np.ones(1, np.int64)
        gt = GroundTruth(box, 0 * one, one, one, ("",), one > 0, ("",))
        info = Info(f"token{i}", "scene", 0.0, "", "", np.eye(4), LidarInfo("none", np.eye(4)), (), {}, gt)
        record = info_to_record(info)
        camera = {"path": "none", "width": 1, "height": 1, "timestamp": 0.0}
        record["cameras"]["CAM_FRONT"] = camera | {"cam2img": np.eye(3).tolist(), "lidar2cam": np.eye(4).tolist()}
        lines.append(record)
    (tmp_path / "infos.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = tmp_path / "switch.py"
    path.write_text(f"dataroot = {str(tmp_path)!r}\n" + CONFIG)
    return path


@pytest.fixture
def run(config: Path, tmp_path: Path) -> Callable[..., list[tuple[str, bool]]]:
    """`run(name, *options, resume=False)` trains and returns what was loaded."""

    def train(name: str, *options: str, resume: bool = False) -> list[tuple[str, bool]]:
        SEEN.clear()
        arguments = ["train", str(config), "--work-dir", str(tmp_path / name), *(["--resume"] if resume else [])]
        assert main([*arguments, *(["--cfg-options", *options] if options else [])]) == 0
        return list(SEEN)

    return train


def test_nothing_is_pasted_from_its_epoch_on(run: Callable[..., list[tuple[str, bool]]]) -> None:
    seen = run("whole")
    assert len(seen) == 6 * EPOCHS
    assert [pasted for _, pasted in seen] == [True] * 6 * SWITCH + [False] * 6 * (EPOCHS - SWITCH)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [4, 6, 8])  # before the switch inside a pass, at the switch, behind it
def test_a_resumed_run_switches_where_the_whole_one_does(
    run: Callable[..., list[tuple[str, bool]]],
    scalars: Callable[[Path], list[dict[str, float]]],
    tmp_path: Path,
    stop: int,
    workers: int,
) -> None:
    options = [f"train.save_every={stop}", f"data.num_workers={workers}"]
    whole = run("whole", *options)
    expected = scalars(tmp_path / "whole")
    # As a kill leaves it: later checkpoints gone, later lines of the log still there.
    (tmp_path / "whole" / "checkpoints" / "latest").write_text(f"step_{stop:07d}\n")
    resumed = run("whole", *options, resume=True)
    assert resumed == whole[2 * stop :]
    assert scalars(tmp_path / "whole") == expected and len(expected) == EPOCHS * STEPS_PER_EPOCH
    losses = [record["train/loss_center"] for record in expected]
    assert min(losses[: SWITCH * STEPS_PER_EPOCH]) > 10 * max(losses[SWITCH * STEPS_PER_EPOCH :])


CHILD = """
import importlib.util, sys

for path in sys.argv[1:3]:
    spec = importlib.util.spec_from_file_location("loaded", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
sys.exit(module.main(["train", *sys.argv[3:]]))
"""


@pytest.mark.slow
def test_two_processes_switch_together(
    run: Callable[..., list[tuple[str, bool]]],
    scalars: Callable[[Path], list[dict[str, float]]],
    config: Path,
    tmp_path: Path,
) -> None:
    run("one")
    script, two = tmp_path / "child.py", tmp_path / "two"
    script.write_text(CHILD)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    launch += [str(Path(__file__).with_name("conftest.py")), __file__, str(config), "--work-dir", str(two)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    options = ["--cfg-options", "data.batch_size=1", "data.num_workers=1", "train.save_every=5"]
    for resume in ([], ["--resume"]):
        command = [*launch, *resume, *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        alone, together = scalars(tmp_path / "one"), scalars(two)
        assert len(alone) == len(together) == EPOCHS * STEPS_PER_EPOCH
        for a, b in zip(alone, together, strict=True):
            assert b["train/loss_center"] == pytest.approx(a["train/loss_center"], rel=1e-3)
        (two / "checkpoints" / "latest").write_text("step_0000005\n")


def test_the_plan_names_the_switch(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["train", str(config), "--work-dir", str(tmp_path / "dry"), "--dry-run"]
    assert main(plan) == 0
    assert "data              from epoch 2 (step 6): without PasteBox" in capsys.readouterr().out


def test_the_plan_warns_of_a_switch_that_never_comes(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["train", str(config), "--work-dir", str(tmp_path / "dry"), "--dry-run", "--cfg-options"]
    assert main([*plan, "train.epochs=None", "train.max_steps=5"]) == 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert "The run ends after 1.67 epochs, so PasteBox stays in to the end" in shown
    assert "from epoch 2" in shown and "until_epoch, or train longer" in shown
    assert main([*plan, "train.max_steps=7", "train.epochs=None"]) == 0
    assert "stays in to the end" not in "".join(capsys.readouterr())
