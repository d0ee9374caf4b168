"""`aqr-eval benchmark`: the command."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from aqr_eval.benchmark.problem import make_problem
from aqr_eval.benchmark.report import ratio_table, step_table, to_markdown
from aqr_eval.benchmark.sides import Run, require_equal, run_devkit, run_ours
from aqr_eval.ground_truth import write_ground_truth
from aqr_eval.nuscenes.classes import MAX_BOXES_PER_SAMPLE
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.submission import write_submission
from aqr_eval.whole_files import check_file, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb; the defaults are the size of val."""
    parser.add_argument("--samples", type=int, default=6019, help="by default 6019, as val")
    parser.add_argument("--predictions", type=int, default=250, help="per sample; by default 250")
    parser.add_argument("--true-boxes", type=int, default=31, help="per sample; by default 31")
    parser.add_argument("--rounds", type=int, default=3, help="each side once per round; by default 3")
    parser.add_argument(
        "--against-devkit", action="store_true", help="also time the nuScenes devkit (minutes per round)"
    )
    parser.add_argument("--devkit-python", default=sys.executable, help="an interpreter with aqr-eval and the devkit")
    parser.add_argument("--markdown", type=Path, help="also write the tables here")


def run(args: argparse.Namespace) -> int:
    """Make the problem, time the sides in turn, print medians and ratios."""
    for name in ("samples", "predictions", "true_boxes", "rounds"):
        if getattr(args, name) < 1:
            raise AqrError(f"--{name.replace('_', '-')} is {getattr(args, name)}: give at least 1.")
    check_file(args.markdown)
    if args.predictions > MAX_BOXES_PER_SAMPLE:
        raise AqrError(f"--predictions is {args.predictions}: a sample may hold {MAX_BOXES_PER_SAMPLE} at most.")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="aqr-eval-") as folder, console.status("Making the problem") as status:
        truth, submission = make_problem(args.samples, args.true_boxes, args.predictions)
        gt = write_ground_truth(Path(folder) / "gt.safetensors", truth)
        files = [write_submission(Path(folder) / f"s.{form}", submission) for form in ("safetensors", "json")]
        problem = f"{len(truth.tokens)} samples, {len(submission.boxes)} predictions, {len(truth.boxes)} true boxes"
        sizes = ", ".join(f"{path.suffix[1:]} {path.stat().st_size / 2**20:.0f} MiB" for path in files)
        del truth, submission
        runs: dict[str, list[Run]] = {}
        for number in range(args.rounds):
            for side, result in _round(gt, files[0], files[1], args):
                runs.setdefault(side, []).append(result)
                status.update(f"Round {number + 1} of {args.rounds}: {side} took {result.from_file:.1f} s")
    console.print(f"{problem} ({sizes}); medians of {args.rounds} rounds.", highlight=False)
    console.print(step_table(runs))
    if args.against_devkit:
        console.print(ratio_table(runs))
    if args.markdown is not None:
        write_text(args.markdown, to_markdown(runs, problem, sizes, args.rounds))
        console.print(f"Written: {args.markdown}", highlight=False, soft_wrap=True)
    return 0


def _round(gt: Path, columns: Path, results: Path, args: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    ours = run_ours(gt, results)
    yield "columns", run_ours(gt, columns)
    yield "JSON", ours
    if args.against_devkit:
        theirs = run_devkit(gt, results, args.devkit_python)
        require_equal(ours, theirs)
        yield "devkit", theirs
