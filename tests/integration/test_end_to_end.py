"""What `make demo` does, on two scenes and four steps, with the devkit as the judge of the score."""

from __future__ import annotations

import json
import os

import pytest

from aqr_eval.cli import main as aqr_eval_main
from aqr_train.cli import main as aqr_main

SPLIT = "mini_val"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "data"
    assert aqr_main(["synth", "--out", str(root), "--scenes", "2", "--seed", "3", "--preset", "tiny"]) == 0
    assert aqr_main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    return root


@pytest.fixture(scope="module")
def on_data(dataroot):
    """Options that point a tiny config at the two scenes."""
    infos = {"train": "infos_mini_train.jsonl", "val": f"infos_{SPLIT}.jsonl"}
    return ["--cfg-options", f"dataroot={dataroot}", *(f"data.{part}.infos={name}" for part, name in infos.items())]


@pytest.fixture(scope="module")
def baseline_submission(on_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baseline")
    assert aqr_main(["predict", "cmt_tiny", "cmt_tiny", "--out", str(folder), *on_data]) == 0
    return folder / "submission.json"


@pytest.fixture(scope="module")
def metrics(dataroot, baseline_submission):
    out = baseline_submission.parent / "metrics.json"
    arguments = ["score", "--dataroot", str(dataroot), "--version", "v1.0-mini", "--split", SPLIT]
    assert aqr_eval_main([*arguments, "--submission", f"baseline={baseline_submission}", "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_shipped_baseline_detects(metrics):
    """Scenes of another seed than it was trained on."""
    assert metrics["mean_ap"] > 0.4


def test_devkit_gives_the_same_score(dataroot, baseline_submission, metrics, tmp_path):
    try:
        from nuscenes import NuScenes
        from nuscenes.eval.detection.config import config_factory
        from nuscenes.eval.detection.evaluate import DetectionEval
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the nuScenes devkit is not installed ({error})")
    nusc = NuScenes("v1.0-mini", str(dataroot), verbose=False)
    judge = DetectionEval(
        nusc, config_factory("detection_cvpr_2019"), str(baseline_submission), SPLIT, str(tmp_path), verbose=False
    )
    expected, _ = judge.evaluate()
    assert metrics["mean_ap"] == pytest.approx(expected.mean_ap, abs=1e-9)
    assert metrics["nd_score"] == pytest.approx(expected.nd_score, abs=1e-9)
    assert metrics["tp_errors"] == pytest.approx(expected.tp_errors, abs=1e-9)


def test_fine_tuning_and_report(dataroot, on_data, baseline_submission, tmp_path):
    trained, page = tmp_path / "v3", tmp_path / "report.html"
    assert aqr_main(["train", "cmt_aqr_tiny", "--work-dir", str(trained), *on_data, "train.max_steps=4"]) == 0
    submission = trained / "submission.json"
    assert aqr_main(["predict", "cmt_aqr_tiny", str(trained), "--out", str(trained), *on_data]) == 0
    report = ["report", "--dataroot", str(dataroot), "--version", "v1.0-mini", "--split", SPLIT, "--out", str(page)]
    submissions = ["--submission", f"baseline={baseline_submission}", "--submission", f"v3={submission}"]
    assert aqr_eval_main([*report, *submissions, "--scalars", f"v3={trained / 'scalars.jsonl'}"]) == 0
    assert "Bias scale" in (trained / "log.txt").read_text()
    assert page.stat().st_size > 100_000
