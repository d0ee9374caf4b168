"""What the commands score against, and with: the arguments they share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from aqr_eval.ground_truth import GroundTruth, load_ground_truth
from aqr_eval.nuscenes.errors import AqrError, DataError


def add_submission_arguments(parser: argparse.ArgumentParser, form: str = "[NAME=]PATH") -> None:
    """What is scored."""
    parser.add_argument("submissions", nargs="*", metavar=form, help="results JSON or columns")
    parser.add_argument("--submission", nargs="+", action="extend", default=[], metavar=form, help="the same by name")


def named_submissions(args: argparse.Namespace) -> dict[str, Path]:
    """Name -> path of what `add_submission_arguments` took, in the order given."""
    words = [*args.submissions, *args.submission]
    if not words:
        raise AqrError("No submission is named: give the path of a results file.")
    return parse_named_paths(words, "--submission")


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the ground truth comes from, and which of its samples take part."""
    source = parser.add_argument_group("ground truth", "a prepared file, or the tables of a split")
    source.add_argument("--gt", type=Path, metavar="FILE", help="file of `aqr-eval prepare`, or infos of `aqr prepare`")
    source.add_argument("--dataroot", type=Path, help="folder that holds VERSION/ with the tables")
    source.add_argument("--version", help="e.g. v1.0-mini")
    source.add_argument("--split", help="e.g. mini_val, or a name from VERSION/splits.json")
    part = parser.add_argument_group("part of it", "predictions of other samples are then ignored")
    part.add_argument("--scene", nargs="+", action="extend", default=[], metavar="NAME", help="these scenes alone")
    part.add_argument(
        "--tokens", type=Path, metavar="FILE", help="these samples alone: a text file, one token per line"
    )
    part.add_argument("--first", type=int, metavar="N", help="the first N samples alone")


def asks_for_truth(args: argparse.Namespace) -> bool:
    """Whether any argument of `add_truth_arguments` was given."""
    return any((args.gt, args.dataroot, args.version, args.split, args.scene, args.tokens, args.first is not None))


def load_truth(args: argparse.Namespace, *, cameras: bool = False, pictures: bool = False) -> GroundTruth:
    """The ground truth that the arguments name.

    Args:
        args: with those of `add_truth_arguments`.
        cameras: also read where the cameras look, if tables are read.
        pictures: dataroot and version may stand beside a file, for the pictures that the caller shows.

    Raises:
        AqrError: neither or both of a file and tables, or an incomplete set of arguments.
        DataError: see `load_ground_truth` and `GroundTruth.subset`.
    """
    tables = (args.dataroot, args.version, args.split)
    if args.gt is not None and (args.split or (not pictures and any(tables))):
        raise AqrError("--gt names the ground truth whole: leave out --dataroot, --version and --split.")
    if args.gt is None and not all(tables):
        raise AqrError("The ground truth is not named: give --gt FILE, or --dataroot, --version and --split together.")
    truth = load_ground_truth(*((args.gt,) if args.gt is not None else tables), cameras=cameras)
    if not (args.scene or args.tokens or args.first is not None):
        return truth
    tokens = _read_tokens(args.tokens) if args.tokens is not None else ()
    return truth.subset(scenes=args.scene, tokens=tokens, first=args.first)


def parse_named_paths(words: Sequence[str], option: str) -> dict[str, Path]:
    """`NAME=PATH` or `PATH` words as a mapping in the order given; a file without a name is called by its stem.

    Raises:
        AqrError: a name comes twice, or a word has an empty name or path.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not separator or Path(word).is_file():
            name, path = Path(word).stem, word
        if not (name and path):
            raise AqrError(f"{option} {word!r} is not NAME=PATH: write for example {option} baseline=results.json.")
        if name in named:
            raise AqrError(f"{option} names {name!r} twice: write NAME=PATH with a different name for each.")
        named[name] = Path(path)
    return named


def _read_tokens(path: Path) -> list[str]:
    try:
        tokens = path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text: write one sample token per line.") from None
    if not tokens:
        raise DataError(f"{path} holds no token: write one sample token per line.")
    return tokens
