"""`aqr test`: predict and score."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from aqr_core.checkpoint import write_text
from aqr_train.cli import predict
from aqr_train.cli.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `aqr predict`."""
    predict.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict, score, and write `metrics.json` beside the results file; it names a sensor that was blanked."""
    import json

    from aqr_train.evaluation import metric_scalars, score
    from aqr_train.inference import open_run

    inference = open_run(arguments)
    with Bars("keyframes") as bars:
        path = inference.predict(arguments.out, lambda done, total: bars.show("predict", done, total))
    if not inference.is_main:
        return 0
    scalars = metric_scalars(score(path, inference.dataset))
    metrics = path.with_name("metrics.json")
    blanked = {"without": inference.without} if inference.without else {}
    write_text(metrics, json.dumps(blanked | scalars, indent=1) + "\n")
    table = Table("metric", "value", title=f"{inference.keyframes}, {inference.dataset.infos.path}")
    for name, value in scalars.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
    Console().print(f"{path}, {metrics}: written.", highlight=False, soft_wrap=True)
    return 0
