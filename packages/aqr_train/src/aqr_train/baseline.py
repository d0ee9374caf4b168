"""`make baseline`: how the shipped CMT weights (`cmt_tiny`) are made, from nothing, with fixed seeds.

Takes hours of CPU; its log and figures are kept in `docs/baseline.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from aqr_train.steps import StepRunner

SCENES = 400  # 320 for training, 80 held out
SEED = 1000  # not the demo's
VERSION = "v1.0-trainval"


def main(argv: Sequence[str] | None = None) -> int:
    """Generate the data, train, score on held-out scenes."""
    parser = argparse.ArgumentParser(prog="python -m aqr_train.baseline", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/baseline"), help="folder of data and training run")
    out = parser.parse_args(argv).out
    runner = StepRunner()
    data, trained = out / "data", out / "cmt_tiny"
    dataset = ["--dataroot", data, "--version", VERSION]
    runner.step(
        "Synthetic nuScenes",
        data / VERSION,
        ["aqr", "synth", "--out", data, "--scenes", SCENES, "--seed", SEED, "--preset", "tiny"],
    )
    runner.step("Tables to infos", data / "infos_val.jsonl", ["aqr", "prepare", *dataset])
    runner.step(
        "CMT from random weights",
        trained / "checkpoints" / "latest",
        ["python", "-m", "aqr_train", "cmt_tiny", "--work-dir", trained, "--cfg-options", f"dataroot={data}"],
    )
    runner.console.print(f"Weights: {escape(str(trained.resolve() / 'checkpoints'))}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
