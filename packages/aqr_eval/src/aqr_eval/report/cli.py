"""`aqr-eval report`: the command that writes the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.report.build import build_report


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `report` below `aqr-eval`; its `func` takes the parsed arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "report",
        help="write one self-contained HTML page: scores, curves, training log, boxes over images and bird's-eye view",
        description="Score submissions and write one self-contained HTML page about them.",
    )
    parser.add_argument("--dataroot", type=Path, required=True, help="folder that holds VERSION/, samples/ and sweeps/")
    parser.add_argument("--version", required=True, help="e.g. v1.0-mini")
    parser.add_argument("--split", required=True, help="e.g. mini_val, or a name from VERSION/splits.json")
    parser.add_argument(
        "--submission",
        nargs="+",
        action="extend",
        required=True,
        metavar="[NAME=]PATH",
        help="results JSON to report on",
    )
    parser.add_argument(
        "--scalars",
        nargs="+",
        action="extend",
        default=[],
        metavar="[NAME=]PATH",
        help="scalars.jsonl of the training run behind a submission, or of any other run",
    )
    parser.add_argument(
        "--figure",
        nargs="+",
        action="extend",
        default=[],
        metavar="[CAPTION=]PATH",
        help="PNG or JPEG file to show on the page, e.g. of aqr show; may be repeated",
    )
    parser.add_argument("--title", default="3D detection on nuScenes", help="heading of the page")
    parser.add_argument("--worst", type=int, default=4, metavar="N", help="picture the N frames of the worst mistakes")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--samples", type=int, default=2, metavar="N", help="picture N more, spread over the scenes")
    which.add_argument("--sample-token", action="append", metavar="TOKEN", help="picture this sample; may be repeated")
    parser.add_argument("--score-threshold", type=float, default=0.2, help="pictures leave out boxes that score less")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it lies."""
    console = Console()
    with console.status("Scoring and drawing"):
        written = build_report(
            dataroot=args.dataroot,
            version=args.version,
            split=args.split,
            submissions=parse_named_paths(args.submission, "--submission"),
            scalars=parse_named_paths(args.scalars, "--scalars"),
            figures=parse_named_paths(args.figure, "--figure"),
            out=args.out,
            title=args.title,
            worst=args.worst,
            samples=args.sample_token if args.sample_token else args.samples,
            score_threshold=args.score_threshold,
        )
    console.print(f"Report: {written} ({written.stat().st_size / 2**20:.1f} MiB)", highlight=False, soft_wrap=True)
    return 0


def parse_named_paths(words: Sequence[str], option: str) -> dict[str, Path]:
    """`NAME=PATH` or `PATH` words as a mapping in the order given; a file without a name is called by its stem.

    Raises:
        AqrError: a name comes twice, or a word has an empty name or path.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not separator or Path(word).is_file():
            name, path = Path(word).stem, word
        if not (name and path):
            raise AqrError(f"{option} {word!r} is not NAME=PATH: write for example {option} baseline=results.json.")
        if name in named:
            raise AqrError(f"{option} names {name!r} twice: write NAME=PATH with a different name for each.")
        named[name] = Path(path)
    return named
