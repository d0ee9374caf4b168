"""`aqr-eval compare`: the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_eval.compare.comparison import CLEAN, arrange, compare
from aqr_eval.compare.tables import class_table, score_tables, to_markdown
from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.metrics import write_json
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.report.cli import parse_named_paths
from aqr_eval.whole_files import replacing


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register `compare` below `aqr-eval`; the split's arguments are the caller's to add."""
    parser = subparsers.add_parser(
        "compare",
        help="several models, under one condition or several, in one table",
        description="NDS and mAP of several models under one condition or several, with the differences to the first.",
    )
    parser.add_argument(
        "--submission",
        nargs="+",
        action="extend",
        required=True,
        metavar="[CONDITION/]NAME=PATH",
        help=f"results JSON of a model under a condition, {CLEAN!r} unless given; the first model is the reference",
    )
    parser.add_argument(
        "--classes-under", metavar="CONDITION", help="condition of the table per class; by default the first"
    )
    parser.add_argument("--caption", help="a sentence above the tables, such as how the models were trained")
    parser.add_argument("--out", type=Path, help="also write the numbers here, as strict JSON")
    parser.add_argument("--markdown", type=Path, help="also write the tables here, as Markdown")
    parser.set_defaults(func=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Score, print, write."""
    submissions = arrange(parse_named_paths(args.submission, "--submission"))
    classes_under = args.classes_under or next(iter(submissions))
    if classes_under not in submissions:
        raise AqrError(
            f"--classes-under {classes_under!r} is none of the conditions {', '.join(map(repr, submissions))}: "
            "choose one of them."
        )
    for path in (args.out, args.markdown):
        if path is not None and path.is_dir():  # found out now, not after the last submission
            raise AqrError(f"{path} is a folder: name the file to write in it.")
    console = Console()
    with console.status("Reading the ground truth") as status:
        truth = load_ground_truth(args.dataroot, args.version, args.split)
        comparison = compare(
            truth, submissions, lambda condition, model: status.update(f"Scoring {model}, {condition}")
        )
    samples, reference = len(truth.tokens), comparison.models[0]
    caption = [args.caption] if args.caption else []
    lead = f"{args.split} of {args.version}, {samples} samples. Differences are to {reference}"
    for line in (*caption, f"{lead}; * marks the best of a column."):
        console.print(line, markup=False, highlight=False)
    for table in (*score_tables(comparison), class_table(comparison, classes_under)):
        console.print(table)
    if args.out is not None:
        split = {"version": args.version, "split": args.split, "samples": samples, "caption": args.caption}
        write_json(args.out, {**split, "reference": reference, "conditions": comparison.to_dict()})
        console.print(f"Written: {args.out}", highlight=False, soft_wrap=True)
    if args.markdown is not None:
        text = to_markdown(comparison, classes_under, [*caption, f"{lead}; the best of a column is bold."])
        with replacing(args.markdown) as temporary:
            temporary.write_text(text, encoding="utf-8")
        console.print(f"Written: {args.markdown}", highlight=False, soft_wrap=True)
    return 0
