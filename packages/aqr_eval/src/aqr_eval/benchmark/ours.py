"""`python -m aqr_eval.benchmark.ours GROUND_TRUTH SUBMISSION`: one evaluation in a process of its own, timed."""

from __future__ import annotations

import json
import sys
import time

from aqr_eval import evaluate, load_ground_truth, load_submission
from aqr_eval.benchmark.memory import peak_bytes


def main() -> None:
    """Prints one line of JSON: seconds of each step, the peak memory of this process, mAP and NDS."""
    times = [time.perf_counter()]
    truth = load_ground_truth(sys.argv[1])
    times.append(time.perf_counter())
    submission = load_submission(sys.argv[2])
    times.append(time.perf_counter())
    metrics = evaluate(truth, submission)
    times.append(time.perf_counter())
    steps = ("load_gt", "load_prediction", "evaluate")
    seconds = {step: after - before for step, before, after in zip(steps, times, times[1:], strict=False)}
    scores = {"mAP": metrics.mean_ap, "NDS": metrics.nd_score}
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), **scores}) + "\n")


if __name__ == "__main__":
    main()
