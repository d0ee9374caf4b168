"""`aqr-eval analyze`: the command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from aqr_eval.analysis.bootstrap import DRAWS, draw_scenes, resample
from aqr_eval.analysis.breakdown import break_down
from aqr_eval.analysis.calibration import calibrate
from aqr_eval.analysis.draws import add_draw_arguments
from aqr_eval.analysis.error_costs import analyze_errors
from aqr_eval.analysis.tables import (
    breakdown_table,
    calibration_tables,
    error_tables,
    group_class_table,
    interval_table,
)
from aqr_eval.cores import available_cores
from aqr_eval.evaluation import find_matches
from aqr_eval.inputs import add_submission_arguments, add_truth_arguments, load_truth, named_submissions
from aqr_eval.matches import Matches
from aqr_eval.metrics import write_json
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.submission import load_submission
from aqr_eval.whole_files import check_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_submission_arguments(parser)
    add_truth_arguments(parser)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), metavar="PART", help=f"some of: {', '.join(PARTS)}")
    add_draw_arguments(parser)
    parser.add_argument("--out", type=Path, help="also write the numbers here, as strict JSON")


def run(args: argparse.Namespace) -> int:
    """Analyse one submission, print, write."""
    named = named_submissions(args)
    if len(named) > 1:
        raise AqrError(
            f"An analysis is of one submission and {len(named)} are named: call it once for each, or aqr-eval compare."
        )
    ((name, path),) = named.items()
    check_file(args.out)
    console = Console()
    with console.status("Reading the ground truth") as status:
        truth = load_truth(args, cameras=args.only is None or "breakdown" in args.only)
        status.update(f"Scoring {name}")
        matches = find_matches(truth, load_submission(path))
        samples = len(truth.tokens)
        console.print(f"{name}: {truth.name}, {samples} samples", markup=False, highlight=False, soft_wrap=True)
        plain: dict[str, Any] = {"submission": name, "truth": truth.name, "samples": samples}
        for part in args.only or PARTS:
            status.update(f"Analysing {name}: {part}")
            plain[part] = _analyze(part, matches, args, console)
    if args.out is not None:
        write_json(args.out, plain)
        console.print(f"Written: {args.out}", highlight=False, soft_wrap=True)
    return 0


def _analyze(part: str, matches: Matches, args: argparse.Namespace, console: Console) -> dict[str, Any] | None:
    """The numbers of a part, printed; a sentence instead where they cannot be had and were not asked for by name."""
    try:
        return PARTS[part](matches, args, console)
    except AqrError as error:
        if args.only or (part == "intervals" and args.draws):
            raise
        console.print(f"No {part}: {error}", markup=False, highlight=False, soft_wrap=True)
        return None


def _print_breakdown(matches: Matches, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    breakdown = break_down(matches)
    console.print(breakdown_table(breakdown))
    console.print(group_class_table(breakdown))
    if breakdown.unknown:
        console.print(f"The ground truth does not know: {', '.join(breakdown.unknown)}.", highlight=False)
    return breakdown.to_dict()


def _print_intervals(matches: Matches, args: argparse.Namespace, console: Console) -> dict[str, Any] | None:
    if args.draws == 0:
        return None
    weights = draw_scenes(matches.truth, DRAWS if args.draws is None else args.draws, args.seed)
    intervals = resample(matches, weights, workers=args.workers or available_cores()).intervals()
    console.print(interval_table(intervals))
    return {**intervals.to_dict(), "seed": args.seed}


def _print_errors(matches: Matches, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    analysis = analyze_errors(matches)
    for table in error_tables(analysis):
        console.print(table)
    return analysis.to_dict()


def _print_calibration(matches: Matches, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    calibration = calibrate(matches)
    for table in calibration_tables(calibration):
        console.print(table)
    return calibration.to_dict()


PARTS: dict[str, Callable[[Matches, argparse.Namespace, Console], dict[str, Any] | None]] = {
    "breakdown": _print_breakdown,
    "intervals": _print_intervals,
    "errors": _print_errors,
    "calibration": _print_calibration,
}
