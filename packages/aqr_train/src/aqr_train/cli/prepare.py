"""`aqr prepare`: nuScenes tables to infos, and their objects to a database for ground-truth sampling."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from aqr_core.errors import ConfigError
from aqr_train.cli.progress import Bars

if TYPE_CHECKING:
    from aqr_core.data.database import ObjectDatabase

_ENOUGH_POINTS = 5  # what the official configs sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--dataroot", type=Path, required=True, help="folder with samples, sweeps and the tables")
    parser.add_argument("--version", required=True, help="v1.0-mini, v1.0-trainval, v1.0-test")
    parser.add_argument("--out-dir", type=Path, help="where infos_<split>.jsonl go; by default the dataroot")
    parser.add_argument("--splits", nargs="+", help="by default every split of the version that has scenes")
    parser.add_argument("--max-sweeps", type=int, default=10, help="past sweeps per keyframe")
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out keyframes and sweeps whose files are absent"
    )
    parser.add_argument(
        "--gt-database",
        action="store_true",
        help="also cut out the objects of the training splits: gt_database_<split>",
    )
    parser.add_argument("--no-images", action="store_true", help="the database without image crops")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes that cut, default all cores"
    )


def run(arguments: argparse.Namespace) -> int:
    """Build, with a progress bar per split."""
    from aqr_core.infos import build_infos

    if arguments.no_images and not arguments.gt_database:
        raise ConfigError("--no-images concerns the object database; give --gt-database too.")
    if arguments.gt_database and arguments.splits:
        _training_splits(arguments.splits)  # before the work starts
    out_dir = arguments.out_dir or arguments.dataroot
    with Bars("keyframes") as bars:
        written = build_infos(
            arguments.dataroot,
            arguments.version,
            out_dir,
            splits=arguments.splits,
            max_sweeps=arguments.max_sweeps,
            progress=bars.show,
            require_files=not arguments.allow_missing,
        )
    for split, path in written.items():
        Console().print(f"infos of {split}: {path}", highlight=False, soft_wrap=True)
    _write_ground_truths(arguments, written)
    if arguments.gt_database:
        _build_databases(arguments, written)
    return 0


def _write_ground_truths(arguments: argparse.Namespace, infos: Mapping[str, Path]) -> None:
    """One file per split to score on, which `aqr-eval` opens in the place of the tables.

    A split is scored on if it has boxes and is not trained on; files younger than all tables are kept.
    """
    from aqr_core.infos import open_infos
    from aqr_eval import load_ground_truth
    from aqr_eval.ground_truth import write_ground_truth
    from aqr_train.truth import is_annotated, prepared_file

    tables = (arguments.dataroot / arguments.version).glob("*.json")
    newest = max(table.stat().st_mtime for table in tables)
    for split, path in infos.items():
        if "train" in split or not is_annotated(open_infos(path)):
            continue
        target = prepared_file(path, split)
        if not target.is_file() or target.stat().st_mtime <= newest:
            write_ground_truth(target, load_ground_truth(arguments.dataroot, arguments.version, split, cameras=True))
        Console().print(f"ground truth of {split}: {target}", highlight=False, soft_wrap=True)


def _build_databases(arguments: argparse.Namespace, infos: Mapping[str, Path]) -> None:
    """One database per split to train on; objects of the others must not be seen in training."""
    from aqr_core.data.database.build import build_object_database

    for split in _training_splits(infos):
        with Bars("keyframes") as bars:
            database = build_object_database(
                arguments.dataroot,
                infos[split],
                infos[split].with_name(f"gt_database_{split}"),
                sweeps_num=arguments.max_sweeps,
                workers=arguments.workers,
                progress=bars.show,
                images=not arguments.no_images,
            )
        Console().print(f"objects of {split}: {database.path}", highlight=False, soft_wrap=True)
        Console().print(_summary(database))


def _training_splits(splits: Iterable[str]) -> list[str]:
    training = [split for split in splits if "train" in split]
    if not training:
        raise ConfigError(
            f"--gt-database: none of the splits {', '.join(splits)} has 'train' in its name, and objects of other "
            "splits must not be learned; choose a training split."
        )
    return training


def _summary(database: ObjectDatabase) -> Table:
    table = Table("class", "objects", f"of {_ENOUGH_POINTS} points or more", "with an image crop")
    for label, name in enumerate(database.classes):
        own = database.labels == label
        enough = own & (database.num_points >= _ENOUGH_POINTS)
        table.add_row(name, *(str(np.count_nonzero(rows)) for rows in (own, enough, own & database.with_image)))
    return table
