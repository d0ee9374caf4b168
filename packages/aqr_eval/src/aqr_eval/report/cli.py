"""`aqr-eval report`: the command that writes the page."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_eval.analysis.bootstrap import DRAWS
from aqr_eval.cores import available_cores
from aqr_eval.inputs import (
    add_submission_arguments,
    add_truth_arguments,
    load_truth,
    named_submissions,
    parse_named_paths,
)
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.nuscenes.tables import NuScenesTables
from aqr_eval.report.build import build_report
from aqr_eval.report.frames import FrameRequest

_FILES = (
    ("--scalars", "[NAME=]PATH", "scalars.jsonl of the training run behind a submission, or of any other run"),
    ("--robustness", "[NAME=]PATH", "summary.json of aqr robustness, by the name of its submission"),
    ("--weights", "[NAME=]PATH", "weights.json of aqr analyze-weights"),
    ("--figure", "[CAPTION=]PATH", "PNG or JPEG file to show on the page, e.g. of aqr show; may be repeated"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_submission_arguments(parser)
    add_truth_arguments(parser)
    for option, form, text in _FILES:
        parser.add_argument(option, nargs="+", action="extend", default=[], metavar=form, help=text)
    parser.add_argument("--title", default="3D detection on nuScenes", help="heading of the page")
    parser.add_argument(
        "--draws", type=int, default=DRAWS, metavar="N", help="for the confidence intervals; 0 for none"
    )
    parser.add_argument("--worst", type=int, default=4, metavar="N", help="picture the N frames of the worst mistakes")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--samples", type=int, default=2, metavar="N", help="picture N more, spread over the scenes")
    which.add_argument("--sample-token", action="append", metavar="TOKEN", help="picture this sample; may be repeated")
    parser.add_argument("--score-threshold", type=float, default=0.2, help="pictures leave out boxes that score less")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the numbers here, as Markdown")
    parser.add_argument("--png", type=Path, metavar="DIR", help="also write the charts into this folder, as PNG")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it lies."""
    submissions = named_submissions(args)
    request = FrameRequest(args.worst, args.sample_token or args.samples, args.score_threshold)
    if (args.dataroot is None) != (args.version is None):
        raise AqrError("The frames come from --dataroot and --version together: give both, or neither for none.")
    console = Console()
    with console.status("Reading the ground truth") as status:
        truth = load_truth(args, cameras=True, pictures=True)
        tables = NuScenesTables(args.dataroot, args.version) if args.dataroot and request.shows_any else None
        status.update("Scoring and drawing")
        page, *others = build_report(
            truth,
            submissions,
            out=args.out,
            tables=tables,
            scalars=parse_named_paths(args.scalars, "--scalars"),
            robustness=parse_named_paths(args.robustness, "--robustness"),
            weights=parse_named_paths(args.weights, "--weights"),
            figures=parse_named_paths(args.figure, "--figure"),
            title=args.title,
            request=request,
            draws=args.draws,
            workers=available_cores(),
            markdown=args.markdown,
            png=args.png,
        )
    console.print(f"Report: {page} ({page.stat().st_size / 2**20:.1f} MiB)", highlight=False, soft_wrap=True)
    for path in others:
        console.print(f"Written: {path}", highlight=False, soft_wrap=True)
    return 0
