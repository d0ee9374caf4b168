"""`aqr convert`: weights of any origin as a checkpoint folder of a config."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.description = (
        "Write weights of any origin (mmcv's .pth, a bare state dict, a pretraining file, a checkpoint folder) as a "
        "checkpoint folder of a config. Exit code 1, and nothing is written, if a tensor of the file or of "
        "the model is left over for no known reason, or if the file does not fill the model (but see --partial)."
    )
    parser.add_argument("source", metavar="SRC", help="weights file, checkpoint folder, work dir, or shipped weights")
    parser.add_argument("--config", required=True, help="config path or name: the model that the weights are for")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write; must not exist")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="SRC fills whole modules and leaves others (a pretrained image backbone; CMT weights for an AQR config): "
        "write what it holds, to start a training from by load_from; predicting with it is refused",
    )
    parser.add_argument(
        "--assume-geometry",
        action="store_true",
        help="SRC does not state its geometry and was trained with that of --config",
    )
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and print the report."""
    from aqr_core.config import load_config
    from aqr_train.conversion import convert_weights

    config = load_config(arguments.config, arguments.cfg_options)
    report, written = convert_weights(
        arguments.source,
        config,
        arguments.out,
        partial=arguments.partial,
        assume_geometry=arguments.assume_geometry,
    )
    lines = report.lines()
    if written:
        lines.append(f"{arguments.out}: {len(report.loaded)} tensors written.")
    elif report.unexplained():
        lines.append(f"Nothing written, {report.unexplained()}.")
    else:
        lines.append("Nothing written, SRC does not fill the model; add --partial if it is to start a training.")
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 0 if written else 1
