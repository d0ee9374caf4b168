"""`aqr analyze-weights`: how the queries of an AQR model weigh LiDAR and cameras over a split."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_train.blanking import SENSORS
from aqr_train.cli.arguments import add_loader, add_model_options, add_split
from aqr_train.cli.progress import Bars

RESULT, OUT = "weights.json", Path("work_dirs/weights")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_model_options(parser)
    add_split(parser)
    add_loader(parser)
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for {RESULT} and the figures; by default {OUT}")
    parser.add_argument(
        "--failures",
        nargs="*",
        choices=SENSORS,
        default=SENSORS,
        help="sensors to run again without, one at a time; by default both, with nothing behind it none",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most N keyframes, spread over the split")
    parser.add_argument(
        "--queries",
        choices=("matched", "confident", "all"),
        help="which queries count: matched with an annotated box (default where there are any), confident, or all",
    )
    parser.add_argument("--score", type=float, default=0.2, help="least score of confident queries; by default 0.2")


def run(arguments: argparse.Namespace) -> int:
    """Run, print the tables, write the files."""
    from aqr_core.checkpoint import write_text
    from aqr_core.errors import ConfigError
    from aqr_train.inference import open_run
    from aqr_train.routing.analysis import analyze
    from aqr_train.routing.collect import is_annotated, routing_head, spread_indices
    from aqr_train.routing.figures import save_figures
    from aqr_train.routing.groups import choose_counted
    from aqr_train.routing.tables import show

    if arguments.out.is_file():
        raise ConfigError(f"--out {arguments.out} is a file; name the folder to write {RESULT} and the figures in.")
    inference = open_run(argparse.Namespace(**vars(arguments), without=None, precision=None))
    routing_head(inference.model)
    indices = spread_indices(len(inference.dataset), arguments.limit)
    annotated = is_annotated(inference.dataset, indices)
    counted = choose_counted(arguments.queries, arguments.score, annotated=annotated)
    failures = list(dict.fromkeys(arguments.failures))
    with Bars("keyframes") as bars:
        analysis = analyze(inference, arguments.checkpoint, indices, counted, failures, bars.show)
    if not inference.is_main:
        return 0
    console = Console()
    show(analysis, console)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / RESULT, analysis.to_json())
    names = [path.name for path in save_figures(analysis, arguments.out)]
    console.print(f"{arguments.out}: {RESULT}, {', '.join(names)} written.", highlight=False, soft_wrap=True)
    return 0
