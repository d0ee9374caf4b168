"""What is told of a prediction's stages, that measuring them changes nothing, and the same model on other entries."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_eval import Submission
from aqr_train.cli import main
from aqr_train.cli import predict as verb
from aqr_train.inference import Inference, open_run
from aqr_train.latency import WARMUP, Watch, predict_timed
from aqr_train.prediction import TO_DEVICE, TO_GLOBAL, WAIT


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic scenes."""
    root = tmp_path_factory.mktemp("latency") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    return root


@pytest.fixture
def inference(dataroot: Path) -> Inference:
    """The shipped detector on six keyframes."""
    parser = argparse.ArgumentParser()
    verb.add_run_arguments(parser)
    words = ["cmt_tiny", "--dataroot", str(dataroot), "--split", "mini_val", "--num-workers", "0"]
    return open_run(parser.parse_args(words))


def columns(submission: Submission | None) -> dict[str, np.ndarray]:
    assert submission is not None
    return vars(submission.boxes)


def assert_equal(first: Submission | None, second: Submission | None) -> None:
    for name, column in columns(first).items():
        np.testing.assert_array_equal(columns(second)[name], column, strict=True)


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_stages_add_up_and_change_nothing(inference: Inference) -> None:
    before = hooks(inference.model)
    timed, latency = predict_timed(inference)
    assert latency is not None and hooks(inference.model) == before
    assert_equal(inference.predict(), timed)
    assert (latency.samples, latency.warmup, latency.batches) == (6, WARMUP, 6 - WARMUP)
    stages = list(latency.stages)
    assert stages[:3] == [WAIT, TO_DEVICE, "voxels"] and stages[-1] == TO_GLOBAL
    assert {"image backbone", "image neck", "head: decoder", "box decoding"} < set(stages)
    assert "head: AQR weights" not in stages  # of which this detector has none
    assert all(0 <= spread.p50_ms <= spread.p95_ms for spread in latency.stages.values())
    # Percentiles do not add up, but those of three batches that are alike come near.
    assert sum(spread.p50_ms for spread in latency.stages.values()) == pytest.approx(latency.batch.p50_ms, rel=0.3)
    assert latency.took_s > 3e-3 * latency.batch.p50_ms
    assert json.loads(latency.to_json())["samples_per_s"] == latency.samples_per_s == 6 / latency.took_s
    assert [row[0] for row in latency.grid().rows] == [*stages, "whole"]
    memory = "peak_gib" if inference.accelerator.device.type == "cuda" else "rss_gib"
    assert f"samples/s, {memory} " in latency.summary


def test_a_batch_ends_with_its_boxes() -> None:
    watch = Watch(torch.device("cpu"))
    for stage in (WAIT, TO_DEVICE, WAIT, TO_GLOBAL, WAIT, TO_GLOBAL):
        watch.mark(stage)
    assert [set(batch) for batch in watch.batches] == [{WAIT, TO_DEVICE, TO_GLOBAL}, {WAIT, TO_GLOBAL}]


def test_the_same_model_on_another_entry(inference: Inference) -> None:
    whole = inference.predict()
    assert_equal(inference.on(inference.entry).predict(), whole)
    blind = inference.failing("camera")
    assert (blind.without, inference.without) == ("camera", None) and blind.model is inference.model
    assert_equal(inference.on(blind.entry).predict(), blind.predict())
    assert not np.array_equal(columns(whole)["score"], columns(blind.predict())["score"])
    with pytest.raises(ConfigError, match="but the dataset counts car, truck"):
        inference.on({**inference.entry, "classes": ["car", "truck"]})


def test_infos_without_boxes_are_predicted_and_not_scored(
    dataroot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *lines = (dataroot / "infos_mini_val.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines[:2]]
    for record in records:
        record["gt"] = {key: [] for key in record["gt"]}
    (dataroot / "infos_test.jsonl").write_text("\n".join([head, *map(json.dumps, records)]) + "\n")
    words = ["test", "cmt_tiny", "--dataroot", str(dataroot), "--split", "test", "--num-workers", "0"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "infos_test.jsonl holds no annotated box: there is nothing to score here." in said and "mAP" not in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "submission.json",
        "submission.safetensors",
        "latency.json",
    }


def test_without_a_folder_nothing_is_written(
    dataroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["test", "--dataroot", str(dataroot.resolve()), "--split", "mini_val", "--num-workers", "0", "--latency"]
    assert main([*words, "--precision", "bf16", "--batch-size", "2", "cmt_tiny", "cmt_tiny"]) == 0
    said = capsys.readouterr().out
    assert "bf16" in said and "image backbone" in said and "mAP_present" in said and list(tmp_path.iterdir()) == []
