"""`aqr-eval robustness`: one run as a table, several against the first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aqr_eval.inputs import parse_named_paths
from aqr_eval.metrics import write_json
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.report.robustness_figures import write_figures
from aqr_eval.robustness.comparison import Comparison, compare_runs
from aqr_eval.robustness.comparison_tables import comparison_tables, comparison_to_markdown
from aqr_eval.robustness.files import SUMMARY, load_run, run_to_dict
from aqr_eval.robustness.published import NOTE, PUBLISHED
from aqr_eval.robustness.run import RobustnessRun
from aqr_eval.robustness.tables import run_table, run_to_markdown, summary_line
from aqr_eval.whole_files import check_file, check_folder, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb; the first run named is the one that the others are measured against."""
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="summary.json of `aqr robustness`, or its folder")
    parser.add_argument(
        "--published", action="store_true", help="show the published numbers of MultiCorrupt too, in a table apart"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the numbers here, as strict JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables here, as Markdown")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="also write the figures into this folder, as PNG")


def run(args: argparse.Namespace) -> int:
    """Read, print, write."""
    check_file(args.out)
    check_file(args.markdown)
    check_folder(args.figures, "figures")
    runs = {name: load_run(path) for name, path in name_runs(args.runs).items()}
    published = _published(runs) if args.published else None
    console = Console()
    comparison = compare_runs(runs) if len(runs) > 1 else None
    if comparison is None:
        (one,) = runs.values()
        console.print(run_table(one))
        console.print(summary_line(one), highlight=False)
        text, numbers = run_to_markdown(one), run_to_dict(one)
    else:
        runs = dict(comparison.runs)
        for table in comparison_tables(comparison):
            console.print(table)
        for remark in comparison.remarks:
            console.print(remark, highlight=False, markup=False, soft_wrap=True)
        text, numbers = comparison_to_markdown(comparison), comparison.to_dict()
    if published is not None:
        for table in comparison_tables(published, f"\n{NOTE}"):
            console.print(table)
        text += "\n" + comparison_to_markdown(published, f"{NOTE}.")
    written = []
    if args.out is not None:
        written.append(write_json(args.out, numbers))
    if args.markdown is not None:
        written.append(write_text(args.markdown, text))
    if args.figures is not None:
        written += write_figures(args.figures, runs)
    for path in written:
        console.print(f"Written: {path}", highlight=False, soft_wrap=True)
    return 0


def name_runs(words: Sequence[str]) -> dict[str, Path]:
    """Name -> path in the order given; a `summary.json` without a name is called by its folder.

    Raises:
        AqrError: see `parse_named_paths`.
    """
    named = []
    for word in words:
        path = Path(word)
        folder = path.parent if path.name == SUMMARY else path
        named.append(f"{folder.resolve().name}={path}" if folder.is_dir() else word)
    return parse_named_paths(named, "RUN")


def _published(runs: dict[str, RobustnessRun]) -> Comparison:
    name, first = next(iter(runs.items()))
    if first.suite != "multicorrupt":
        raise AqrError(f"--published holds numbers of multicorrupt and {name} is of {first.suite}; leave it out.")
    return compare_runs(PUBLISHED)
