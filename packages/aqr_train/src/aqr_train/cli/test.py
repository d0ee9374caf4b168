"""`aqr test`: predict and score."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from aqr_train.cli.predict import add_run_arguments, predict_split

if TYPE_CHECKING:
    from aqr_eval import Submission
    from aqr_train.inference import Inference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `aqr predict`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the files of `aqr predict` and metrics.json; without it they are not written",
    )


def run(arguments: argparse.Namespace) -> int:
    """Predict, score in memory, show the metrics. Works under a launcher too."""
    inference, submission = predict_split(arguments)
    if submission is not None:
        _score(inference, submission, arguments.out)
    inference.end()
    return 0


def _score(inference: Inference, submission: Submission, out: Path | None) -> None:
    """Print the metrics and write `metrics.json`, which names a sensor that was blanked."""
    import json

    from aqr_core.checkpoint import write_text
    from aqr_train.evaluation import metric_scalars, score
    from aqr_train.results import METRICS
    from aqr_train.truth import is_annotated

    console, infos = Console(), inference.dataset.infos
    if not is_annotated(infos):
        console.print(f"{infos.path} holds no annotated box: there is nothing to score here.", soft_wrap=True)
        return
    scalars = metric_scalars(score(submission, inference.dataset))
    table = Table("metric", "value", title=f"{inference.keyframes}, {infos.path}")
    for name, value in scalars.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    if out is not None:
        blanked = {"without": inference.without} if inference.without else {}
        write_text(out / METRICS, json.dumps(blanked | scalars, indent=1) + "\n")
        console.print(f"{out / METRICS}: written.", highlight=False, soft_wrap=True)
