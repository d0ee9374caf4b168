"""`aqr-eval compare`: the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_eval.analysis.draws import add_draw_arguments, draw_for
from aqr_eval.compare.comparison import arrange, compare
from aqr_eval.compare.interval_tables import interval_table
from aqr_eval.compare.tables import class_table, score_tables, to_markdown
from aqr_eval.inputs import add_submission_arguments, add_truth_arguments, load_truth, named_submissions
from aqr_eval.metrics import write_json
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.whole_files import check_file, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb; the first model named is the one that the others are measured against."""
    add_submission_arguments(parser, "[CONDITION/][NAME=]PATH")
    add_truth_arguments(parser)
    parser.add_argument(
        "--classes-under", metavar="CONDITION", help="condition of the table per class; by default the first"
    )
    add_draw_arguments(parser)
    parser.add_argument("--caption", help="a sentence above the tables, such as how the models were trained")
    parser.add_argument("--out", type=Path, help="also write the numbers here, as strict JSON")
    parser.add_argument("--markdown", type=Path, help="also write the tables here, as Markdown")


def run(args: argparse.Namespace) -> int:
    """Score, print, write."""
    submissions = arrange(named_submissions(args))
    classes_under = args.classes_under or next(iter(submissions))
    if classes_under not in submissions:
        raise AqrError(
            f"--classes-under {classes_under!r} is none of the conditions {', '.join(map(repr, submissions))}: "
            "choose one of them."
        )
    check_file(args.out)
    check_file(args.markdown)
    console = Console()
    with console.status("Reading the ground truth") as status:
        truth = load_truth(args)
        drawn = draw_for(truth, args)
        comparison = compare(
            truth,
            submissions,
            lambda condition, model: status.update(f"Scoring {model}, {condition}"),
            draws=drawn.weights,
            workers=drawn.workers,
        )
    samples, reference = len(truth.tokens), comparison.models[0]
    caption = [args.caption] if args.caption else []
    lead = f"{truth.name}, {samples} samples. Differences are to {reference}"
    for line in (*caption, f"{lead}; * marks the best of a column."):
        console.print(line, markup=False, highlight=False)
    intervals = [interval_table(comparison, condition) for condition in comparison.resampled]
    for table in (*score_tables(comparison), class_table(comparison, classes_under), *intervals):
        console.print(table)
    console.print(drawn.remark, markup=False, highlight=False, soft_wrap=True)
    if args.out is not None:
        split = {"truth": truth.name, "samples": samples, "caption": args.caption, "draws": drawn.to_dict()}
        write_json(args.out, {**split, "reference": reference, "conditions": comparison.to_dict()})
        console.print(f"Written: {args.out}", highlight=False, soft_wrap=True)
    if args.markdown is not None:
        text = to_markdown(
            comparison, classes_under, [*caption, f"{lead}; the best of a column is bold.", drawn.remark]
        )
        write_text(args.markdown, text)
        console.print(f"Written: {args.markdown}", highlight=False, soft_wrap=True)
    return 0
