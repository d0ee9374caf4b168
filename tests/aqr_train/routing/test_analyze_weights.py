"""`aqr analyze-weights` on a synthetic scene, with untrained weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aqr_core.checkpoint import save_checkpoint
from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_train.cli import main
from aqr_train.routing.analysis import FORMAT
from aqr_train.routing.statistics import BINS

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared synthetic dataset with one scene of six keyframes for validation."""
    root = tmp_path_factory.mktemp("routing") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", VERSION]) == 0
    return root


@pytest.fixture
def analyze(dataroot, tmp_path, capsys, monkeypatch):
    """`analyze(config, *words)` -> exit code, what the screen of 80 columns shows, and the record if there is one."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(config, *words, options=(), spread=1.0):
        checkpoint = save_untrained(config, tmp_path / config, spread, options)
        out = tmp_path / "out"
        command = ["analyze-weights", "--checkpoint", str(checkpoint), "--config", config, "--out", str(out)]
        command += ["--split", "mini_val", "--num-workers", "0", *words]
        command += ["--cfg-options", f"dataroot={dataroot}", *options]
        code = main(command)
        shown = capsys.readouterr()
        record = out / "weights.json"
        return (
            code,
            shown.out + shown.err,
            json.loads(record.read_text(), parse_constant=pytest.fail) if code == 0 else None,
        )

    return run


def save_untrained(config, folder, spread, options):
    torch.manual_seed(0)
    detector = build_detector(load_config(config, list(options)).model)
    generator = getattr(detector.pts_bbox_head, "aqr_weight_generator", None)
    if generator is not None:
        torch.nn.init.normal_(generator.predictor.weight, std=spread)
    return save_checkpoint(folder, detector, "", {"step": 0, "epoch": 0})


def test_v3_with_and_without_sensors(analyze, tmp_path):
    code, shown, record = analyze("cmt_aqr_tiny_scratch", "--batch-size", "4")
    assert code == 0, shown
    assert record["format"] == FORMAT and record["variant"]["name"] == "v3" and record["variant"]["scale"] == 2.5
    assert list(record["conditions"]) == ["all sensors", "no camera", "no LiDAR"]
    for run in record["conditions"].values():
        assert run["keyframes"] == 6 and run["every"]["queries"] == 600 and run["at_clamp"] == {}
        for groups in run["groups"].values():
            if run["counted"] is not None:
                assert sum(group["queries"] for group in groups.values()) == run["counted"]["queries"]
        for group in (run["every"], *run["groups"]["class"].values()):
            assert len(group["lidar_mass"]) == 3 and all(0 <= share <= 1 for share in group["lidar_mass"])
            for weight in ("lidar", "camera"):
                assert sum(group[weight]["histogram"]) == group["queries"]
                assert -1 <= group[weight]["quantiles"][0] <= group[weight]["quantiles"][-1] <= 1
        heads = run["head_mass"]
        assert [sum(layer) / 4 for layer in heads] == pytest.approx(run["every"]["lidar_mass"], abs=1e-5)
    assert len(record["histogram_edges"]) == BINS + 1
    runs = [run["every"] for run in record["conditions"].values()]
    assert len({run["lidar"]["mean"] for run in runs}) == 3  # a sensor that fails changes the weights
    assert "matcher" in record["rule"] and set(record["conditions"]["all sensors"]["groups"]["light"]) <= {"unknown"}

    assert "…" not in shown and max(len(line) for line in shown.splitlines() if "/" not in line) <= 80
    assert re.search(r"no LiDAR +\d", shown) and "Distance to ego" in shown and "head 4" in shown
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert {"attention.png", "weights_by_class.png", "weights_histogram.png"} <= set(pictures)
    assert "weights_by_light.png" not in pictures
    for name in pictures:
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") and name in shown
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix == ".tmp"]


def test_batches_and_limits_change_no_figure(analyze):
    words = ("--queries", "all", "--limit", "3", "--failures")
    one = analyze("cmt_aqr_tiny_scratch", *words, "--batch-size", "1")[2]["conditions"]["all sensors"]
    three = analyze("cmt_aqr_tiny_scratch", *words, "--batch-size", "3")[2]["conditions"]["all sensors"]
    assert one["keyframes"] == 3 and one["counted"]["queries"] == 300
    assert one["counted"] == one["every"]
    assert one["every"]["lidar"]["mean"] == pytest.approx(three["every"]["lidar"]["mean"], abs=1e-6)
    assert one["every"]["lidar_mass"] == pytest.approx(three["every"]["lidar_mass"], abs=1e-6)


def test_two_processes_share_the_keyframes(analyze, dataroot, tmp_path):
    """Two and one of three keyframes; one process writes what one alone would."""
    words = ["--limit", "3", "--failures", "--num-workers", "0"]
    alone = analyze("cmt_aqr_tiny_scratch", *words)[2]["conditions"]["all sensors"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python"]
    command += [Path(sys.executable).with_name("aqr"), "analyze-weights", "--split", "mini_val", *words]
    command += ["--checkpoint", tmp_path / "cmt_aqr_tiny_scratch", "--config", "cmt_aqr_tiny_scratch"]
    command += ["--out", tmp_path / "two", "--cfg-options", f"dataroot={dataroot}"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(map(str, command), env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.count("Keyframes: 3.") == 1, done.stderr
    shared = json.loads((tmp_path / "two" / "weights.json").read_text())["conditions"]["all sensors"]
    assert shared["groups"].keys() == alone["groups"].keys() and shared["annotated"] == alone["annotated"]
    for weight in ("lidar", "camera"):
        assert shared["every"][weight]["mean"] == pytest.approx(alone["every"][weight]["mean"], abs=1e-6)
        assert shared["counted"]["queries"] == alone["counted"]["queries"]


@pytest.mark.parametrize(("config", "name"), [("cmt_aqr_v1_tiny", "v1"), ("cmt_aqr_v2_tiny", "v2")])
def test_v1_and_v2_have_maps_and_no_scale(analyze, config, name):
    options = ("model.pts_bbox_head.renderer_config.max_weight_clamp=1.0",)
    code, shown, record = analyze(config, "--limit", "1", "--queries", "all", "--failures", options=options, spread=0.0)
    assert code == 0, shown
    assert record["variant"] | {"bounds": None} == dict(name=name, bounds=None, neutral=1.0, scale=None, max_scale=None)
    assert record["variant"]["bounds"] == [0.0, 2.0]
    # Neutral weights, so every cell is 1, which is also the clamp.
    assert record["conditions"]["all sensors"]["at_clamp"] == {"bev": 1.0, "image": 1.0}
    assert len(record["warnings"]) == 2 and "warning: 100% of the cells of the bev map" in shown
    assert "Cells at the clamp" in shown


@pytest.fixture
def night(dataroot):
    """All scenes of the dataset at night, while the test runs."""
    path = dataroot / VERSION / "scene.json"
    before = path.read_text()
    path.write_text(json.dumps([{**scene, "description": "Night, crossing"} for scene in json.loads(before)]))
    yield
    path.write_text(before)


def test_a_scale_near_its_maximum_at_night(analyze, night, tmp_path):
    options = ("model.pts_bbox_head.attention_bias_config.bias_scale=4.9",)
    _, shown, record = analyze(
        "cmt_aqr_tiny_scratch", "--limit", "1", "--queries", "all", "--failures", options=options
    )
    assert any("lower max_scale" in line for line in record["warnings"]) and "warning: Bias scale 4.900" in shown
    groups = record["conditions"]["all sensors"]["groups"]
    assert list(groups["light"]) == ["night"] and list(groups["weather"]) == ["unknown"]
    assert "night" in shown and "Weather: unknown" in shown and (tmp_path / "out" / "weights_by_light.png").exists()


def test_no_query_counts(analyze):
    words = ("--limit", "1", "--failures", "--queries", "confident", "--score", "1")
    code, shown, record = analyze("cmt_aqr_tiny_scratch", *words)
    assert code == 0, shown
    run = record["conditions"]["all sensors"]
    assert run["counted"] is None and run["groups"]["class"] == {} and run["every"]["queries"] == 100


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        ("cmt_tiny", (), r"The head CmtHead of this model has no AQR"),
        ("cmt_router_tiny", (), r"gives each query to one of three experts"),
        ("cmt_aqr_tiny_scratch", ("--limit", "0"), r"--limit is 0; give at least 1"),
        ("cmt_aqr_tiny_scratch", ("--batch-size", "0"), r"--batch-size is 0; give at least 1"),
        ("cmt_aqr_tiny_scratch", ("--num-workers", "-1"), r"--num-workers is -1; give 0"),
        ("cmt_aqr_tiny_scratch", ("--score", "7"), r"--score is 7.0"),
    ],
)
def test_bad_input_is_one_sentence(analyze, tmp_path, config, words, message):
    code, shown, _ = analyze(config, *words)
    assert code == 2 and re.search(message, shown) and not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be(analyze, tmp_path):
    (tmp_path / "out").write_text("")
    code, shown, _ = analyze("cmt_aqr_tiny_scratch")
    assert code == 2 and "is a file; name the folder" in shown
