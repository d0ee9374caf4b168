"""`aqr robustness`: a checkpoint under a suite of sensor failures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aqr_core.errors import ConfigError
from aqr_train.cli.arguments import add_loader, add_model, add_precision, add_split
from aqr_train.cli.progress import Bars

if TYPE_CHECKING:
    from aqr_eval.robustness import RobustnessRun
    from aqr_train.inference import Inference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_model(parser)
    add_split(parser)
    add_loader(parser)
    add_precision(parser)
    parser.add_argument("--suite", required=True, help="nuscenes-r, multicorrupt or modality")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results; a run that was killed goes on"
    )
    parser.add_argument("--name", help="of the model in tables; by default that of the config or of the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of the failures; by default 0")
    part = parser.add_argument_group("part of it", "for a quick look; take another --out than for the whole")
    part.add_argument("--only", nargs="+", action="extend", metavar="CORRUPTION", help="these corruptions alone")
    part.add_argument("--severity", nargs="+", action="extend", type=int, metavar="N", help="these severities alone")
    part.add_argument("--first", type=int, metavar="N", help="the first N keyframes alone")
    parser.add_argument("--save-submissions", action="store_true", help="keep the detections of each cell, as columns")
    parser.set_defaults(without=None)  # which `open_run` asks for; here a sensor is blanked by a cell


def run(arguments: argparse.Namespace) -> int:
    """Predict and score what is missing, show and write the summary. Works under a launcher too."""
    from aqr_train.inference import open_run
    from aqr_train.robustness.cell_files import CellFiles, identify
    from aqr_train.robustness.plan import choose_cells, place_cells
    from aqr_train.robustness.runner import run_trials
    from aqr_train.truth import is_annotated

    _check(arguments)
    cells = choose_cells(arguments.suite, arguments.only, arguments.severity)
    inference = open_run(arguments)
    if not is_annotated(inference.dataset.infos):
        raise ConfigError(
            f"{inference.dataset.infos.path} holds no annotated box to score against; choose another split."
        )
    if arguments.first is not None:
        inference = _first(inference, arguments.first)
    trials, skipped = place_cells(cells, inference.entry, arguments.seed)
    files = CellFiles(arguments.out, identify(inference), arguments.seed, arguments.save_submissions)
    with Bars("keyframes") as bars:

        def show(done: int, cells: int, keyframes: int, total: int) -> None:
            bars.show("all cells", done * total + keyframes, cells * total)
            bars.show("this cell", keyframes, total)

        results = run_trials(
            inference, trials, files, save_submissions=arguments.save_submissions, say=bars.say, progress=show
        )
    if results is not None:
        from aqr_eval.robustness import RobustnessRun

        name = arguments.name or Path(arguments.config or arguments.checkpoint).stem
        clean, *failing = results
        suite, seed, keyframes = arguments.suite, arguments.seed, len(inference.dataset)
        _finish(arguments.out, RobustnessRun(name, suite, clean, tuple(failing), skipped, seed, keyframes))
    inference.end()
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What can be refused before anything is opened."""
    from aqr_eval.robustness.files import SUMMARY

    out: Path = arguments.out
    if out.is_file():
        raise ConfigError(f"--out {out} is a file; name the folder to write {SUMMARY} in.")
    if arguments.first is not None and arguments.first < 1:
        raise ConfigError(f"--first is {arguments.first}; ask for at least 1 keyframe.")
    if arguments.seed < 0:
        raise ConfigError(f"--seed is {arguments.seed}; give a whole number from 0.")
    there = _suite_in(out)
    if there not in (None, arguments.suite):
        raise ConfigError(f"--out {out} holds the suite {there}; name another folder for {arguments.suite}.")


def _suite_in(out: Path) -> str | None:
    """That of an earlier run; a damaged summary is written again."""
    from aqr_core.errors import DataError
    from aqr_eval.robustness import load_run

    try:
        return load_run(out).suite
    except DataError:
        return None


def _first(inference: Inference, count: int) -> Inference:
    """The same on the first keyframes of all its datasets."""
    from aqr_train.robustness.keyframes import FirstKeyframes

    opened = inference.open_dataset
    return replace(
        inference,
        dataset=FirstKeyframes(inference.dataset, count),
        open_dataset=lambda entry: FirstKeyframes(opened(entry), count),
    )


def _finish(out: Path, run: RobustnessRun) -> None:
    """Write `summary.json`, `summary.md` and the figures; print the table."""
    from aqr_core.checkpoint import write_text
    from aqr_eval.report.robustness_figures import write_figures
    from aqr_eval.robustness import write_run
    from aqr_eval.robustness.files import SUMMARY
    from aqr_eval.robustness.tables import run_table, run_to_markdown, summary_line

    console = Console()
    console.print(run_table(run))
    console.print(summary_line(run), highlight=False)
    write_run(out / SUMMARY, run)
    write_text(out / "summary.md", run_to_markdown(run))
    write_figures(out, {run.model: run})
    console.print(f"{out}: summary and figures written.", highlight=False, soft_wrap=True)
