"""`aqr benchmark model` on the tiny config, and its probes on work whose time, memory and arithmetic are known."""

from __future__ import annotations

import argparse
import time

import pytest
import torch
from torch import nn

from aqr_core.infos import build_infos
from aqr_core.structures import Batch
from aqr_core.synth import generate
from aqr_train.benchmarks.model import SLOW_HALF, _measure
from aqr_train.benchmarks.model_runs import BACKWARD, LOSSES, UPDATE, prediction
from aqr_train.benchmarks.parts import DECODING, PARTS, REST, observed
from aqr_train.benchmarks.probes import Clock, arithmetic, peak_memory
from aqr_train.cli import main

CPU = torch.device("cpu")
MIB = 1024**2


class Head(nn.Module):
    """Two children with rows of their own; what it does itself is the head's row."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Linear(8, 8)
        self.task_heads = nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 3)])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [head(self.transformer(x + 1)) for head in self.task_heads]

    def decode(self, out: list[torch.Tensor]) -> list[torch.Tensor]:
        return out


class Detector(nn.Module):
    """As little of a detector as the hooks look for."""

    def __init__(self) -> None:
        super().__init__()
        self.img_backbone = nn.Linear(8, 8)
        self.pts_bbox_head = Head()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.pts_bbox_head.decode(self.pts_bbox_head(self.img_backbone(x)))


def test_every_stretch_belongs_to_the_innermost_part():
    detector, marks = Detector(), []
    with observed(detector, marks.append):
        detector(torch.zeros(1, 8))
    codes = "head: codes of positions and queries"
    image, decoder, task = "image backbone", "head: decoder", "head: task heads"
    # At every boundary the part that has just worked, so each is named where it stops for another one.
    once = [codes, decoder, codes, task]
    assert marks == [REST, image, REST, *once, *once, codes, REST, DECODING]


def test_no_hook_stays_behind():
    detector, marks = Detector(), []
    with observed(detector, marks.append):
        pass
    detector(torch.zeros(1, 8))
    assert marks == []
    assert "decode" not in vars(detector.pts_bbox_head)


def test_the_clock_counts_stretches_to_their_parts():
    clock = Clock(CPU)
    time.sleep(0.02)
    clock.mark("a")
    clock.mark("b")
    time.sleep(0.01)
    clock.mark("a")
    seconds = clock.seconds()
    assert seconds["a"] >= 0.03 and seconds["b"] < 0.01
    assert list(seconds) == ["a", "b"]


def test_peak_memory_is_what_tensors_held_at_most():
    def run(mark):
        kept = torch.zeros(MIB // 4)  # 1 MiB
        torch.zeros(MIB)  # 4 MiB, released at once
        mark("allocates")
        kept = kept.clone()  # 2 MiB for a moment
        mark("copies")
        del kept
        mark("releases")

    left_behind = []
    peak_memory(CPU, lambda mark: (left_behind.append(torch.zeros(MIB)), mark("")))
    left_behind.clear()  # out of the profiler's sight
    peak = peak_memory(CPU, run)
    assert {part: round(size / MIB, 2) for part, size in peak.items()} == dict(allocates=5.0, copies=2.0, releases=1.0)


def test_arithmetic_is_what_ran_not_what_was_asked_for():
    linear, x = nn.Linear(8, 8), torch.zeros(1, 2, 4, 8)
    with torch.no_grad(), arithmetic() as probe:
        with torch.autocast("cpu", torch.bfloat16):
            y = linear(x)
            probe.mark("low")
            y.exp().double() @ x.double().mT  # autocast leaves double precision alone
            probe.mark("high")
            torch.nn.functional.scaled_dot_product_attention(y, y, y)
        probe.mark("attention")
        x + x
        probe.mark("no product")
    assert probe.found["low"] == {"bf16"} and probe.found["high"] == {"fp64"} and probe.found["no product"] == set()
    assert any(kernel.endswith(" in bf16") for kernel in probe.found["attention"])


def benchmark(tmp_path, *options: str) -> str:
    out = tmp_path / "model.md"
    arguments = ["cmt_tiny", "--runs", "1", "--warmup", "1", "--batch-sizes", "1", "--out", str(out), "--device", "cpu"]
    assert main(["benchmark", "model", *arguments, *options]) == 0
    return out.read_text()


def rows(report: str, title: str) -> dict[str, list[str]]:
    """The cells of one table by the name in its first column."""
    lines = report.split(f"## {title}\n\n")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_prediction_by_parts(tmp_path, capsys):
    report = benchmark(tmp_path, "--precisions", "fp32", "bf16")
    assert "batch 1, bf16" in capsys.readouterr().out
    for fact in ("config: cmt_tiny", "commit: ", "threads of torch", "1 timed after 1 to warm up", "preset full"):
        assert fact in report
    table = rows(report, "batch 1, fp32")
    absent = {"head: AQR weights"}
    assert list(table) == [name for name in PARTS if name not in absent] + [DECODING, REST, "whole"]
    milliseconds = {name: float(cells[0]) for name, cells in table.items()}
    whole = milliseconds.pop("whole")
    assert sum(milliseconds.values()) == pytest.approx(whole, abs=0.1 * len(milliseconds))  # of a single run
    low = rows(report, "batch 1, bf16")
    assert low["sparse encoder"][-1] == "fp32"  # the part that the model keeps in float32
    assert low["image backbone"][-1] == "bf16"


def test_training_by_parts(tmp_path):
    report = benchmark(tmp_path, "--precisions", "fp32", "--train")
    table = rows(report, "batch 1, fp32")
    assert list(table)[-5:] == [LOSSES, BACKWARD, UPDATE, REST, "whole"]
    assert float(table[BACKWARD][0]) > 0


def test_what_cannot_run_is_reported_with_the_reason(tmp_path, monkeypatch):
    def refuse(model, batch, precision):
        work = prediction(model, batch, precision)
        return work if precision == "fp32" else lambda mark: (_ for _ in ()).throw(RuntimeError("no such kernel\nmore"))

    monkeypatch.setattr("aqr_train.benchmarks.model.prediction", refuse)
    report = benchmark(tmp_path, "--precisions", "fp32", "fp16")
    assert "| 1 | fp16 | not run: no such kernel |" in report
    assert "## batch 1, fp32" in report and "## batch 1, fp16" not in report


def test_a_keyframe_of_a_dataset(tmp_path, capsys):
    made = generate(tmp_path / "data", scenes=1, seed=0, workers=1, keyframes=1)
    (infos,) = build_infos(made.root, made.version, made.root).values()
    place = ["--precisions", "fp32", "--cfg-options", f"dataroot={made.root}", f"data.val.infos={infos.name}"]
    assert "keyframe 0 of data.val" in benchmark(tmp_path, "--frame", "0", *place)
    assert main(["benchmark", "model", "cmt_tiny", "--frame", "1", *place]) == 2
    assert "--frame is 1, the dataset has 1 keyframes" in " ".join(capsys.readouterr().err.split())


def test_half_precision_on_a_cpu_is_left_out_unless_asked_for_and_says_so():
    arguments = argparse.Namespace(precisions=None)
    batch = Batch(["a"], [], torch.zeros(1, 1, 3, 4, 4), torch.eye(4)[None, None], [], [], [0])
    assert _measure(arguments, {}, batch, "fp16").failure == SLOW_HALF


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runs", "0"], "--runs, --warmup and --batch-sizes are counts from 1"),
        (["--device", "abacus"], "--device abacus cannot be used"),
        (["--out", "."], "--out . is a folder"),
        (["--cfg-options", "data.val=None"], "no data.val"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(options, message, capsys):
    assert main(["benchmark", "model", "cmt_tiny", *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
