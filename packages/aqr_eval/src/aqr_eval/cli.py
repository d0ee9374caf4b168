"""`aqr-eval`: score, validate and report on nuScenes results files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aqr_eval import __version__
from aqr_eval.compare import cli as compare_cli
from aqr_eval.evaluation import align_samples, evaluate
from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.metrics import DetectionMetrics, write_json
from aqr_eval.nuscenes.errors import AqrError, sentence
from aqr_eval.report import cli as report_cli
from aqr_eval.score_table import class_table, summary_table
from aqr_eval.submission import load_submission


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 on success, 2 with one sentence on stderr where the input is at fault."""
    args = _parser().parse_args(argv)
    try:
        exit_code: int = args.func(args)
    except (AqrError, OSError) as error:
        if args.debug:
            raise
        Console(stderr=True).print(f"aqr-eval: {sentence(error)}", markup=False, highlight=False, soft_wrap=True)
        return 2
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aqr-eval", description="Evaluate 3D detections on nuScenes.")
    parser.add_argument("--version", action="version", version=f"aqr-eval {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    score = commands.add_parser("score", help="mAP, NDS and the five true-positive errors, in total and per class")
    _add_split(score, required=True)
    score.add_argument(
        "--submission",
        nargs="+",
        action="extend",
        required=True,
        metavar="[NAME=]PATH",
        help="results JSON; several are compared",
    )
    score.add_argument("--out", type=Path, help="also write the numbers and curves here, as strict JSON")
    score.set_defaults(func=_score)

    validate = commands.add_parser("validate", help="check a results file, and its samples if a split is given")
    validate.add_argument("--submission", type=Path, required=True, metavar="PATH", help="results JSON")
    _add_split(validate, required=False)
    validate.set_defaults(func=_validate)

    _add_split(compare_cli.add_parser(commands), required=True)
    report_cli.add_parser(commands)
    for command in commands.choices.values():  # before the command or behind it
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="as before the command")
    return parser


def _add_split(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--dataroot", type=Path, required=required, help="folder that holds the version's tables")
    parser.add_argument("--version", required=required, help="e.g. v1.0-mini")
    parser.add_argument("--split", required=required, help="e.g. mini_val, or a name from VERSION/splits.json")


def _score(args: argparse.Namespace) -> int:
    named = report_cli.parse_named_paths(args.submission, "--submission")
    console = Console()
    with console.status("Reading the ground truth"):
        truth = load_ground_truth(args.dataroot, args.version, args.split)
    metrics: dict[str, DetectionMetrics] = {}
    for name, path in named.items():
        with console.status(f"Scoring {name}"):
            metrics[name] = evaluate(truth, load_submission(path))
    for name, one in metrics.items():
        console.print(class_table(one, title=f"{name}: {args.split} of {args.version}, {len(truth.tokens)} samples"))
    console.print(summary_table(metrics))
    if args.out is not None:
        plain = {name: one.to_dict() for name, one in metrics.items()}
        write_json(args.out, plain if len(plain) > 1 else next(iter(plain.values())))
        console.print(f"Written: {args.out}", highlight=False, soft_wrap=True)
    return 0


def _validate(args: argparse.Namespace) -> int:
    split_words = (args.dataroot, args.version, args.split)
    if any(split_words) and not all(split_words):
        raise AqrError("Checking the samples needs --dataroot, --version and --split together: give all or none.")
    submission = load_submission(args.submission)
    checked = "format"
    if all(split_words):
        align_samples(load_ground_truth(*split_words), submission)
        checked = f"format and samples of {args.split}"
    content = f"{len(submission.tokens)} samples, {len(submission.boxes)} boxes"
    Console().print(f"{args.submission} is valid: {content}; checked {checked}.", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
