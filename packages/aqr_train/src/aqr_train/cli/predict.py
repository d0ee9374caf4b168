"""`aqr predict`: the detections of a checkpoint on a split, as a nuScenes results file and as columns."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aqr_train.cli.arguments import add_loader, add_model, add_precision, add_split, add_without
from aqr_train.cli.progress import Bars

if TYPE_CHECKING:
    from aqr_eval import Submission
    from aqr_train.inference import Inference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_run_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for submission.json, submission.safetensors and latency.json",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """All but `--out`, which `aqr test` can do without."""
    add_model(parser)
    add_split(parser)
    add_loader(parser)
    add_precision(parser)
    add_without(parser)
    parser.add_argument("--latency", action="store_true", help="show what each stage took, beside the throughput")


def run(arguments: argparse.Namespace) -> int:
    """Predict, with a progress bar. Works under a launcher too."""
    inference, _ = predict_split(arguments)
    inference.end()
    return 0


def predict_split(arguments: argparse.Namespace) -> tuple[Inference, Submission | None]:
    """Run the model, show how fast it was and write the files, if a folder is named.

    Returns:
        what ran, which the caller ends; its detections on the main process, None on the others.
    """
    from aqr_core.checkpoint import write_text
    from aqr_train.inference import open_run
    from aqr_train.latency import predict_timed
    from aqr_train.results import LATENCY, check_out, write_results

    out: Path | None = arguments.out
    if out is not None:
        check_out(out)
    inference = open_run(arguments)
    with Bars("keyframes") as bars:
        submission, latency = predict_timed(inference, lambda done, total: bars.show("predict", done, total))
    if submission is None or latency is None:
        return inference, None
    console = Console()
    if arguments.latency:
        console.print(latency.grid().rich())
    console.print(f"{inference.keyframes}: {latency.summary}.", highlight=False, soft_wrap=True)
    if out is not None:
        write_results(out, submission)
        write_text(out / LATENCY, latency.to_json())
        console.print(f"{out}: detections written.", highlight=False, soft_wrap=True)
    return inference, submission
