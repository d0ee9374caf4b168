"""`aqr-eval convert`: a submission in its other format."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.submission import load_submission, write_submission
from aqr_eval.submission.files import COLUMNS_SUFFIX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("source", type=Path, metavar="FROM", help="submission in either format")
    parser.add_argument(
        "target", type=Path, metavar="TO", help="file to write: NAME.json, or NAME.safetensors for columns"
    )


def run(args: argparse.Namespace) -> int:
    """Read, check, write."""
    if args.target.suffix not in (".json", COLUMNS_SUFFIX):
        raise AqrError(f"{args.target} does not tell the format: end its name in .json or {COLUMNS_SUFFIX}.")
    submission = load_submission(args.source)
    write_submission(args.target, submission)
    content = f"{len(submission.tokens)} samples, {len(submission.boxes)} boxes"
    Console().print(f"Written: {args.target} ({content}).", highlight=False, soft_wrap=True)
    return 0
