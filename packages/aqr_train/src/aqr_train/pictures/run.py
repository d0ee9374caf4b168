"""`aqr show run`: the curves of training runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aqr_core.errors import ConfigError

SUMMARY = "curves of one or more training runs"
_FILE = "scalars.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the kind."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="work dirs; the curves of all share panels")
    parser.add_argument("--out", type=Path, metavar="PNG", help="by default curves.png in the first work dir")


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture and say where it lies."""
    from aqr_eval.report.scalars import read_scalars
    from aqr_train.pictures.curve_panels import find_panels
    from aqr_train.pictures.curves import draw_curves
    from aqr_train.pictures.figure import write_png

    out: Path = arguments.out or arguments.runs[0] / "curves.png"
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; name a PNG file.")
    logs = {}
    for folder, name in zip(arguments.runs, run_names(arguments.runs), strict=True):
        path = folder / _FILE
        if not path.is_file():
            raise ConfigError(f"{folder} holds no {_FILE}; name the work dir of a training run.")
        logs[name] = read_scalars(path)
        if not find_panels({name: logs[name]}):
            raise ConfigError(f"{path} holds nothing to draw yet; wait for the first line of the run's log.")
    write_png(out, draw_curves(logs))
    Console().print(str(out), highlight=False, soft_wrap=True)
    return 0


def run_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the runs apart, one folder name at least.

    Raises:
        ConfigError: a folder is given twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise ConfigError(f"{max(folders, key=folders.count)} is given twice; name every run once.")
    names: list[str] = []
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            break
    return names
