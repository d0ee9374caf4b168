"""How long the analyses of a submission take at the size of val: `python packages/aqr_eval/benchmarks/analyses.py`."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from aqr_eval.analysis import analyze_errors, break_down, calibrate
from aqr_eval.analysis.bootstrap import draw_scenes, resample
from aqr_eval.benchmark.memory import peak_bytes
from aqr_eval.benchmark.problem import make_problem
from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.matches import Matches
from aqr_eval.metrics import DetectionMetrics


def main() -> None:
    """Writes Markdown: median and range of the CPU seconds of each step, and the peak memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=6019)
    parser.add_argument("--predictions", type=int, default=250)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    truth, submission = make_problem(args.samples, 31, args.predictions)
    truth = _describe(truth)
    seconds: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        started = time.process_time()
        matches = find_matches(truth, submission)
        DetectionMetrics.from_matches(matches)
        seconds.setdefault("match and score", []).append(time.process_time() - started)
        for name, analyse in _steps(args.draws).items():
            started = time.process_time()
            analyse(matches)
            seconds.setdefault(name, []).append(time.process_time() - started)
    counted = f"{len(matches.rows):,} predictions and {len(matches.gt_rows):,} true boxes count"
    lines = [f"{counted}, {len(set(truth.scenes))} scenes; medians of {args.rounds} rounds.", ""]
    lines += ["| step | CPU time, s | smallest to largest |", "| --- | ---: | ---: |"]
    for name, values in seconds.items():
        lines.append(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f} |")
    lines += ["", f"Peak {peak_bytes() / 2**20:.0f} MiB. Python {platform.python_version()}, numpy {np.__version__}."]
    sys.stdout.write("\n".join(lines) + "\n")


def _steps(draws: int) -> Mapping[str, Callable[[Matches], object]]:
    return {
        "breakdown": break_down,
        f"intervals, {draws} draws": lambda matches: resample(matches, draw_scenes(matches.truth, draws)).intervals(),
        "mistakes and their cost": analyze_errors,
        "calibration": calibrate,
    }


def _describe(truth: GroundTruth) -> GroundTruth:
    """The same with visibility, and with a night and a rain here and there."""
    weather = ("Day, parked cars", "Night", "Rain", "Night, rain")
    return replace(
        truth,
        descriptions={scene: weather[number % 4] for number, scene in enumerate(dict.fromkeys(truth.scenes))},
        visibility=np.random.default_rng(1).integers(1, 5, len(truth.boxes)).astype(np.int8),
    )


if __name__ == "__main__":
    main()
