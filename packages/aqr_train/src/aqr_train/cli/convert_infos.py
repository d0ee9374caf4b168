"""`aqr convert-infos`: info pickles of mmdet3d as infos of ours, and ours as theirs."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_train.cli.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.description = (
        "Write infos in the other form: .jsonl is ours, .pkl is format 1.1 of mmdet3d 1.1 to 1.4. Says what "
        "the source holds and the result cannot, and what the source does not say."
    )
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="infos of `aqr prepare`, or an info pickle of mmdet3d (1.0 or 1.1)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="NAME.jsonl or NAME.pkl to write; must not exist"
    )
    parser.add_argument("--split", help="name of the split, such as val or mini_val, where a pickle does not say")
    add_box_convention(parser)


def add_box_convention(parser: argparse.ArgumentParser) -> None:
    """How boxes of a pickle are to be understood."""
    parser.add_argument(
        "--box-convention",
        choices=("lwh", "wlh"),
        help="of the boxes in a pickle, where neither it nor the proportions of its vehicles tell",
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert, with a progress bar, and tell what was lost."""
    from aqr_core.infos.conversion import convert_infos

    with Bars("keyframes") as bars:
        done = convert_infos(
            arguments.source,
            arguments.out,
            split=arguments.split,
            box_convention=arguments.box_convention,
            progress=bars.show,
        )
    lines = [f"{done.path}: {done.keyframes} keyframes."]
    lines += [f"Left behind: {phrase}." for phrase in done.left_behind]
    lines += [f"{arguments.source.name} does not say: {phrase}." for phrase in done.unknown]
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 0
