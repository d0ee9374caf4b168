"""`aqr convert-config`: a config of mmcv 1.x as a config of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.description = (
        "Write a CMT config of mmcv 1.x (mmdet3d 0.x and 1.0.0rc) as a config of ours, and account for every field: "
        "carried over, renamed, expressed otherwise, dropped with the reason. SRC is run as mmcv runs it; its plugin "
        "is not imported. Exit code 1, with the file written, if something that changes results could not be "
        "expressed; the account then begins with these differences."
    )
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="config file of a CMT checkout, its _base_ files beside it"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.py", help="config to write; must not exist")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and print the account."""
    from aqr_train.config_conversion import convert_config, report

    conversion = convert_config(arguments.source, arguments.out)
    lines = report.lines(conversion.ledger)
    lines.append(f"{arguments.out} written{'' if conversion.is_equivalent else ', with the differences above'}.")
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 0 if conversion.is_equivalent else 1
