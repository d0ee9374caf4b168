"""Every command of ours in docs/from-mmdet3d.md runs, on a small synthetic dataset under the names of the document.

Launchers for several GPUs and Slurm cannot run here: their files are looked up, and what they start is planned.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from aqr_core.checkpoint import read_weights_file
from aqr_core.config import config_names
from aqr_eval.cli import main as aqr_eval
from aqr_train.checkpoints import find_checkpoint
from aqr_train.cli import VERBS
from aqr_train.cli import main as aqr
from aqr_train.launchers import find_launcher

pytestmark = pytest.mark.documents

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "from-mmdet3d.md"
OURS = ("aqr", "aqr-eval", "accelerate", "torchrun", "sbatch", "make", "tensorboard")
# The smallest CMT with AQR; its length is in epochs, as that of the full-size configs.
CONFIG = """
_base_ = "{base}"
_voxel_size = [0.5, 0.5, 0.2]
_image = dict(final_dim=(64, 192), resize_lim=(0.44, 0.5), rand_flip=True)
_small = dict(
    (split, [dict(step, data_aug_conf=_image) if "data_aug_conf" in step else step
             for step in _base_.data[split].pipeline]) for split in ("train", "val"))
dataroot = "data/nuscenes"
data = dict(batch_size=2, num_workers=0, train=dict(pipeline=_small["train"]), val=dict(pipeline=_small["val"]))
model = dict(
    pts_voxel_layer=dict(voxel_size=_voxel_size),
    pts_bbox_head=dict(
        num_query=20,
        bbox_coder=dict(voxel_size=_voxel_size, max_num=50),
        aqr_config=dict(bev_feature_shape=(16, 16), pers_feature_shape=(6, 4, 12)),
    ),
)
schedule = dict(warmup_steps=0)
train = dict(max_steps=None, epochs=1, val_every=None, picture_every=None, save_every=1, log_every=1)
"""
# What makes a measurement short.
QUICK = {"benchmark": ["--runs", "1", "--warmup", "1", "--precisions", "fp32", "--batch-sizes", "1"]}
FRAMES = 2


def commands() -> list[str]:
    """Code spans in the last column of a table, and lines of `sh` blocks, that begin with a program of ours."""
    text = DOCUMENT.read_text(encoding="utf-8")
    cells = [line.rsplit("|", 2)[-2] for line in text.splitlines() if line.startswith("|")]
    spans = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    spans += [line for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(span for span in spans if span.split()[0] in OURS and span.split()[1:]))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What a command leaves set in the process."""
    yield
    AcceleratorState._reset_state(True)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the document speaks of: data, mmdet3d's files, a config, weights, a run, a submission."""
    folder = tmp_path_factory.mktemp("field")
    before = Path.cwd()
    os.chdir(folder)
    try:
        _furnish(folder)
        yield folder
    finally:
        os.chdir(before)


def _furnish(folder: Path) -> None:
    data = "data/nuscenes"
    assert aqr(["synth", "--out", data, "--scenes", "2", "--seed", "3", "--version", "v1.0-trainval"]) == 0
    assert aqr(["prepare", "--dataroot", data, "--version", "v1.0-trainval", "--gt-database", "--workers", "1"]) == 0
    for split in ("train", "val"):
        infos = folder / data / f"infos_{split}.jsonl"
        infos.write_text("".join(infos.read_text().splitlines(keepends=True)[: 1 + FRAMES]))
    Path("tiny.py").write_text(CONFIG.format(base=config_names()["cmt_aqr_tiny_scratch"]))
    for split in ("train", "val"):
        pickled = f"{data}/nuscenes_infos_{split}.pkl"
        assert aqr(["convert-infos", f"{data}/infos_{split}.jsonl", "--out", pickled]) == 0
    objects = f"{data}/gt_database_train"
    assert aqr(["convert-database", objects, "--out", f"{data}/nuscenes_dbinfos_train.pkl"]) == 0
    assert aqr(["train", "tiny.py", "--work-dir", "work_dirs/cmt", "--cfg-options", "train.epochs=2"]) == 0
    AcceleratorState._reset_state(True)
    tensors = dict(read_weights_file(find_checkpoint("work_dirs/cmt")).tensors)
    torch.save({"meta": {"epoch": 20}, "state_dict": tensors}, "epoch_20.pth")
    assert aqr(["predict", "tiny.py", "work_dirs/cmt", "--out", "work_dirs/predictions"]) == 0
    AcceleratorState._reset_state(True)
    shutil.copy("work_dirs/predictions/submission.json", "results_nusc.json")
    truth = ["--dataroot", data, "--version", "v1.0-trainval", "--split", "val", "--first", str(FRAMES)]
    assert aqr_eval(["prepare", *truth, "--out", f"{data}/ground_truth_val.safetensors"]) == 0
    sys.path.insert(0, str(REPOSITORY / "tests" / "aqr_train" / "config_conversion"))
    from field_configs import FieldConfig

    source = Path("projects/configs/fusion/cmt_voxel0100_r50_800x320_cbgs.py")
    source.parent.mkdir(parents=True)
    source.write_text(FieldConfig().text())


def expand(command: str, folder: Path) -> list[str]:
    """The words of a command as a shell would have them, with the placeholders of the document filled in."""
    command = re.sub(r"\$\(python -m aqr_train\.launchers (\w+)\)", lambda m: str(find_launcher(m[1])), command)
    filled = {"CONFIG": "tiny.py", "CHECKPOINT": "work_dirs/cmt"}
    words = [filled.get(word, word) for word in shlex.split(command)]
    for place, word in enumerate(words[:-1]):
        # Every command writes to a place of its own; one that resumes goes on with a copy of the run.
        if word in ("--out", "--work-dir") and not words[place + 1].startswith("data/"):
            own = folder / Path(words[place + 1]).name
            if "--resume" in words:
                shutil.copytree(words[place + 1], own)
                words = [each.replace(words[place + 1], str(own)) for each in words]
            words[place + 1] = str(own)
    return words


def run(words: list[str], folder: Path) -> int:
    """The exit code; what needs several GPUs or Slurm is planned by one process instead."""
    program, arguments = words[0], words[1:]
    if program == "aqr":
        extra = ["--out-dir", str(folder)] if arguments[0] == "prepare" else QUICK.get(arguments[0], [])
        return aqr([*arguments, *extra])
    if program == "aqr-eval":
        return aqr_eval(arguments)
    if program in ("accelerate", "torchrun"):
        if "--config_file" in arguments:
            assert Path(arguments[arguments.index("--config_file") + 1]).is_file()
        ours = arguments[arguments.index("aqr_train") + 1 :]
        return aqr(ours) if ours[0] in VERBS else aqr(["train", *ours, "--dry-run"])
    if program == "sbatch":
        script = next(place for place, word in enumerate(arguments) if word.endswith(".sbatch"))
        assert Path(arguments[script]).is_file()
        config, work_dir = arguments[script + 1 :]
        return aqr(["train", config, "--work-dir", str(folder / work_dir), "--dry-run"])
    if program == "make":
        verbs = re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
        return 0 if set(arguments) <= set(verbs) else 1
    return subprocess.run([Path(sys.executable).parent / program, "--help"], capture_output=True).returncode


@pytest.mark.parametrize("command", commands())
def test_the_command_runs(command: str, workplace: Path, tmp_path: Path) -> None:
    assert run(expand(command, tmp_path), tmp_path) == 0


def test_a_converted_config_finds_the_files_of_the_field(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pickled infos and database, under the names that the source gives; the released weights are not at hand."""
    config = str(tmp_path / "my_cmt.py")
    assert aqr(["convert-config", "projects/configs/fusion/cmt_voxel0100_r50_800x320_cbgs.py", "--out", config]) == 0
    options = ["--cfg-options", "train.precision=fp32", "load_from=None", "data.num_workers=0"]
    assert aqr(["train", config, "--work-dir", str(tmp_path / "run"), "--dry-run", *options]) == 0
    assert "20.00 epochs" in capsys.readouterr().out


def test_the_document_names_the_habits_of_the_field() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    habits = "tools/train.py dist_train.sh slurm_train.sh tools/test.py --format-only --resume-from --auto-resume"
    habits += (
        " create_data.py verify_frozen_parameters.py analyze_aqr_weights.py analyze_logs.py benchmark.py get_flops"
    )
    habits += (
        " browse_dataset print_config.py samples_per_gpu workers_per_gpu with_cp paramwise_cfg lr_config fp16 SyncBN"
    )
    habits += (
        " momentum_config load_from find_unused_parameters custom_hooks EMAHook CBGSDataset ObjectSample epoch_20.pth"
    )
    habits += " latest.pth log.json TensorboardLoggerHook MMDataParallel --gpus runner.max_epochs --deterministic"
    assert [habit for habit in habits.split() if habit not in text] == []
    assert len(commands()) >= 30


def test_the_fields_of_ours_exist() -> None:
    """Every `section.field` of the document that begins with a section of ours is one that a config takes."""
    from aqr_core.config import SCHEMA

    text = DOCUMENT.read_text(encoding="utf-8")
    cells = [line.rsplit("|", 2)[-2] for line in text.splitlines() if line.startswith("|")]
    found = {match for cell in cells for match in re.findall(r"\b(train|optimizer|schedule|data)\.(\w+)", cell)}
    assert len(found) >= 20
    assert {(section, name) for section, name in found if name not in (SCHEMA[section] or ())} == set()
