"""`aqr-eval`: what nuScenes results are worth; a verb is imported when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from rich.console import Console

from aqr_eval import __version__
from aqr_eval.nuscenes.errors import AqrError, sentence

# Verb -> module with `add_arguments(parser)` and `run(args)`, and what it does.
VERBS = {
    "score": ("aqr_eval.commands.score", "mAP, NDS and the five true-positive errors, in total and per class"),
    "validate": ("aqr_eval.commands.validate", "check a submission, and its samples if a ground truth is given"),
    "compare": ("aqr_eval.compare.cli", "several models, under one condition or several, in one table"),
    "analyze": ("aqr_eval.analysis.cli", "parts, intervals, mistakes and calibration of one submission"),
    "robustness": ("aqr_eval.robustness.cli", "runs of `aqr robustness`: one as a table, several against the first"),
    "report": ("aqr_eval.report.cli", "one self-contained HTML page: scores, curves, boxes over images"),
    "prepare": ("aqr_eval.commands.prepare", "write the ground truth of a split as one file"),
    "benchmark": ("aqr_eval.benchmark.cli", "how long an evaluation takes, beside the devkit where it is installed"),
    "convert": ("aqr_eval.commands.convert", "write a submission in its other format, JSON or columns"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 on success, 2 with one sentence on stderr where the input is at fault."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = _parser(next((word for word in words if word in VERBS), None)).parse_args(words)
    try:
        return int(args.run(args))
    except (AqrError, OSError) as error:
        if args.debug:
            raise
        Console(stderr=True).print(f"aqr-eval: {sentence(error)}", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        Console(stderr=True).print("aqr-eval: interrupted")
        return 130


def _parser(called: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aqr-eval", description="Evaluate 3D detections on nuScenes.")
    parser.add_argument("--version", action="version", version=f"aqr-eval {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb, (module, summary) in VERBS.items():
        command = commands.add_parser(verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if verb == called:
            code = importlib.import_module(module)
            code.add_arguments(command)
            command.set_defaults(run=code.run)
        # Before the command or behind it.
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="as before the command")
    return parser


if __name__ == "__main__":
    sys.exit(main())
