"""`aqr convert-database`: object databases of mmdet3d and CMT as ours, and ours as theirs."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_train.cli.convert_infos import add_box_convention
from aqr_train.cli.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.description = (
        "Write an object database in the other form: ours is a folder of a few files, mmdet3d's a pickle "
        "NAME_dbinfos_SPLIT.pkl beside a folder NAME_gt_database of one file per object. Says what was lost."
    )
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="folder of `aqr prepare --gt-database`, or a pickle of mmdet3d or CMT"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help="for a folder NAME_dbinfos_SPLIT.pkl, for a pickle the folder to write; must not exist",
    )
    parser.add_argument(
        "--dataroot", type=Path, help="where the paths in a pickle start, if not in the folder that it lies in"
    )
    add_box_convention(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert, with a progress bar, and tell what was lost."""
    from aqr_core.data.database.conversion import convert_database

    with Bars("objects") as bars:
        done = convert_database(
            arguments.source,
            arguments.out,
            dataroot=arguments.dataroot,
            box_convention=arguments.box_convention,
            progress=bars.show,
        )
    lines = [f"{done.path}: {done.objects} objects.", *(f"Left behind: {phrase}." for phrase in done.left_behind)]
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 0
