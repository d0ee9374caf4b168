"""`aqr-eval score`: mAP, NDS and the five true-positive errors."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_eval.evaluation import evaluate_files
from aqr_eval.inputs import add_submission_arguments, add_truth_arguments, load_truth, named_submissions
from aqr_eval.metrics import write_json
from aqr_eval.score_table import class_table, summary_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_submission_arguments(parser)
    add_truth_arguments(parser)
    parser.add_argument("--strict", action="store_true", help="refuse whatever the devkit refuses")
    parser.add_argument("--workers", type=int, help="processes that score several submissions; by default one per core")
    parser.add_argument("--out", type=Path, help="also write the numbers and curves here, as strict JSON")


def run(args: argparse.Namespace) -> int:
    """Score and print, the several submissions below one another."""
    named = named_submissions(args)
    console = Console()
    with console.status("Reading the ground truth") as status:
        truth = load_truth(args)
        status.update(f"Scoring {', '.join(named)}")
        scored = evaluate_files(truth, list(named.values()), strict=args.strict, workers=args.workers)
        metrics = dict(zip(named, scored, strict=True))
    for name, one in metrics.items():
        console.print(class_table(one, title=f"{name}: {truth.name}, {len(truth.tokens)} samples"))
    console.print(summary_table(metrics))
    if args.out is not None:
        plain = {name: one.to_dict() for name, one in metrics.items()}
        write_json(args.out, plain if len(plain) > 1 else next(iter(plain.values())))
        console.print(f"Written: {args.out}", highlight=False, soft_wrap=True)
    return 0
