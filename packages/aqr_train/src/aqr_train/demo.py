"""`make demo`: data, fine-tuning, evaluation and a report with pictures, by the public commands.

AQR starts from CMT weights with frozen backbones, the way it is used on nuScenes. `--scratch` trains
the same detector from nothing instead. A step whose result exists is skipped, so a second run only
says where the report lies.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from aqr_train.results import RESULTS
from aqr_train.steps import VERSION, StepRunner

SCENES = 75  # 60 for training, 15 held out
SHOWN = (13, 40, 67)  # held-out keyframes whose weights are drawn
SEED = 7  # the shipped baseline was trained on scenes of another seed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m aqr_train.demo", description="data, training, evaluation, report")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of everything the demo writes")
    parser.add_argument("--scratch", action="store_true", help="train from random weights instead of the baseline")
    parser.add_argument("--require-map", type=float, default=None, help="exit 1 when AQR v3 stays below")
    arguments = parser.parse_args(argv)
    metrics = run_demo(arguments.out, scratch=arguments.scratch)
    reached = reached_map(metrics)
    if arguments.require_map is not None and reached < arguments.require_map:
        Console(stderr=True).print(f"AQR v3 reached mAP {reached:.3f}; {arguments.require_map:.3f} was asked for.")
        return 1
    return 0


def reached_map(metrics: Path) -> float:
    """The mAP of AQR v3 in a file of `aqr-eval score`, which names the submissions only where there are several."""
    scores = json.loads(metrics.read_text(encoding="utf-8"))
    return float(scores.get("v3", scores)["mean_ap"])


def run_demo(out: Path, *, scratch: bool) -> Path:
    """All steps; returns the metrics file."""
    started = time.monotonic()
    runner = StepRunner()
    data, config = out / "data", "cmt_aqr_tiny_scratch" if scratch else "cmt_aqr_tiny"
    trained, baseline = out / config, out / "cmt_tiny"
    report = out / ("report-scratch.html" if scratch else "report.html")
    on_data = ["--cfg-options", f"dataroot={data}"]
    submissions = {"v3": trained / RESULTS}

    runner.synthetic_data(data, scenes=SCENES, seed=SEED)
    if not scratch:
        submissions = {"baseline": baseline / RESULTS, **submissions}
        runner.step(
            "The shipped CMT baseline on the held-out scenes",
            submissions["baseline"],
            ["aqr", "predict", "cmt_tiny", "cmt_tiny", "--out", baseline, *on_data],
        )
    runner.step(
        "AQR v3 from random weights" if scratch else "AQR v3 from the baseline, backbones frozen",
        trained / "checkpoints" / "latest",
        ["python", "-m", "aqr_train", config, "--work-dir", trained, *on_data, "train.picture_every=100"],
    )
    runner.step(
        "AQR v3 on the held-out scenes",
        submissions["v3"],
        ["aqr", "predict", config, trained, "--out", trained, *on_data],
    )
    pictures = trained / "pictures"
    figures = [pictures / f"frame_{frame:04d}.png" for frame in SHOWN]
    runner.step(
        "Weights and bias windows on held-out keyframes",
        figures[-1],
        ["aqr", "show", "weights", "--checkpoint", trained, "--frame", *SHOWN, "--out", pictures],
    )
    split = ["--dataroot", data, "--version", VERSION, "--split", "val"]
    for name, path in submissions.items():
        split += ["--submission", f"{name}={path}"]
    metrics = trained / "metrics.json"
    runner.step("The nuScenes metric", metrics, ["aqr-eval", "score", *split, "--out", metrics])
    shown = [f"AQR v3, held-out keyframe {frame}={path}" for frame, path in zip(SHOWN, figures, strict=True)]
    scalars = f"v3={trained / 'scalars.jsonl'}"
    runner.step(
        "The report",
        report,
        ["aqr-eval", "report", *split, "--scalars", scalars, "--figure", *shown, "--out", report],
    )
    runner.console.rule(f"[bold]{(time.monotonic() - started) / 60:.1f} minutes", align="left")
    runner.console.print(f"Report: {escape(str(report.resolve()))}", soft_wrap=True)
    return metrics


if __name__ == "__main__":
    raise SystemExit(main())
