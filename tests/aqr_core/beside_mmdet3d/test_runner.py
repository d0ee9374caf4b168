"""mmdet3d's own `tools/train.py` and `tools/test.py` on our configs, and its metric beside ours."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint

import aqr_train.weights
from aqr_core.checkpoint import load_weights
from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_eval import evaluate, load_ground_truth, load_submission
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

TOOLS = Path(find_spec("mmdet3d").origin).parent / ".mim/tools"
CONFIGS = Path(find_spec("aqr_train.configs").origin).parent / "mmdet3d"
SHIPPED = Path(aqr_train.weights.__path__[0]) / "cmt_tiny/model.safetensors"
TRAIN = (
    "train_cfg.max_iters=50",
    "train_cfg.val_interval=1000",
    "train_dataloader.num_workers=1",
    "default_hooks.checkpoint.interval=50",
    "randomness.seed=3",
)
IN_PROCESS = ("num_workers=0", "persistent_workers=False")


def tool(name: str, root: Path, *arguments: str | Path, options: tuple[str, ...] = ()) -> str:
    """Output of a run of one of mmdet3d's tools."""
    environment = {**os.environ, "NUSCENES_ROOT": str(root), "NUSCENES_VERSION": "v1.0-mini", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", TOOLS / name, *map(str, arguments), "--cfg-options", *options],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(driven: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of AQR v3 after 50 iterations of mmengine's runner, the last of them validated."""
    work_dir = tmp_path_factory.mktemp("work")
    options = (*TRAIN, *(f"val_dataloader.{option}" for option in IN_PROCESS))
    tool("train.py", driven, CONFIGS / "cmt_aqr_tiny.py", "--work-dir", work_dir, options=options)
    return work_dir


def log_of(work_dir: Path) -> list[dict]:
    (scalars,) = work_dir.glob("*/vis_data/scalars.json")
    return [json.loads(line) for line in scalars.read_text().splitlines()]


def test_their_runner_trains_aqr_for_50_iterations(trained):
    training = [row for row in log_of(trained) if "loss" in row]
    losses = [row["loss"] for row in training]
    assert training[-1]["step"] == 50 and len(losses) >= 5
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < 0.85 * losses[0], losses
    for row in training:
        assert row["loss"] == pytest.approx(sum(value for key, value in row.items() if "loss_" in key), rel=1e-4)


def test_validation_during_training_gives_nds(trained):
    validation = [row for row in log_of(trained) if any(key.endswith("/NDS") for key in row)]
    assert len(validation) == 1 and 0 <= _figure(validation[0], "NDS") <= 1


def _figure(row: dict, name: str) -> float:
    (value,) = (value for key, value in row.items() if key.endswith(f"_NuScenes/{name}"))
    return value


@pytest.mark.parametrize("config, checkpoint, at_least", [("cmt_aqr_tiny", None, 0.0), ("cmt_tiny", SHIPPED, 0.6)])
def test_their_metric_and_ours_agree_on_every_figure(trained, driven, tmp_path, config, checkpoint, at_least):
    """On what the run has learned, which is little, and on shipped weights, which find most of the objects."""
    options = (
        f"test_evaluator.jsonfile_prefix={tmp_path}/out",
        *(f"test_dataloader.{option}" for option in IN_PROCESS),
    )
    arguments = (CONFIGS / f"{config}.py", checkpoint or trained / "iter_50.pth", "--work-dir", tmp_path / "test")
    tool("test.py", driven, *arguments, options=options)
    (logged,) = (json.loads(path.read_text()) for path in (tmp_path / "test").glob("*/2*.json"))
    folder = tmp_path / "out/pred_instances_3d"
    theirs = json.loads((folder / "metrics_summary.json").read_text())
    truth = load_ground_truth(driven, "v1.0-mini", "mini_val")
    ours = evaluate(truth, load_submission(folder / "results_nusc.json"))
    assert ours.nd_score >= at_least
    assert ours.nd_score == pytest.approx(theirs["nd_score"], abs=1e-6)
    assert ours.mean_ap == pytest.approx(theirs["mean_ap"], abs=1e-6)
    assert ours.tp_errors == pytest.approx(theirs["tp_errors"], abs=1e-6)
    for name in DETECTION_CLASSES:
        for threshold, ap in theirs["label_aps"][name].items():
            assert ours.label_aps[name][float(threshold)] == pytest.approx(ap, abs=1e-6), (name, threshold)
        for error, value in theirs["label_tp_errors"][name].items():
            assert ours.label_tp_errors[name][error] == pytest.approx(value, abs=1e-6, nan_ok=True), (name, error)
    assert _figure(logged, "NDS") == pytest.approx(ours.nd_score, abs=1e-6)
    assert _figure(logged, "mAP") == pytest.approx(ours.mean_ap, abs=1e-6)
    for name, error in (("mATE", "trans_err"), ("mASE", "scale_err"), ("mAOE", "orient_err"), ("mAVE", "vel_err")):
        assert _figure(logged, name) == pytest.approx(ours.tp_errors[error], abs=5.1e-5)  # four decimals, theirs


def test_what_their_runner_saved_loads_here_and_gives_the_same_boxes(trained, driven, mmdet3d_config):
    ours = build_detector(load_config("cmt_aqr_tiny_scratch").model)
    report = load_weights(ours, trained / "iter_50.pth")
    assert not report.missing and not report.unexpected and not report.notes
    config = mmdet3d_config("cmt_aqr_tiny", driven)
    theirs = MODELS.build(config.model)
    load_checkpoint(theirs, str(trained / "iter_50.pth"), strict=True)
    data = pseudo_collate([DATASETS.build(config.test_dataloader.dataset)[1]])
    (sample,) = theirs.eval().test_step(data)
    batch = theirs.data_preprocessor(data)["inputs"]
    mine = ours.eval().predict(batch)[0]
    assert torch.equal(mine.scores, sample.pred_instances_3d.scores_3d)
    np.testing.assert_allclose(
        sample.pred_instances_3d.bboxes_3d.gravity_center.numpy(), mine.boxes[:, :3].numpy(), atol=1e-5
    )


def test_a_run_resumes(trained, driven):
    options = (*TRAIN[1:], "train_cfg.max_iters=52", *(f"val_dataloader.{option}" for option in IN_PROCESS))
    arguments = (CONFIGS / "cmt_aqr_tiny.py", "--work-dir", trained, "--resume")
    output = tool("train.py", driven, *arguments, options=options)
    assert "resumed epoch: 0, iter: 50" in output and "Iter(val)" in output
