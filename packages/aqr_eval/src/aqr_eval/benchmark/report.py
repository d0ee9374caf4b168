"""Times and ratios as tables on the screen and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from rich.table import Table

from aqr_eval.benchmark.sides import Run
from aqr_eval.markdown import markdown_table
from aqr_eval.score_table import plain_table

Runs = Mapping[str, Sequence[Run]]
_STEPS = {
    "submission file to boxes": ("load_prediction",),
    "boxes to NDS": ("filter", "accumulate", "evaluate"),
    "ground truth (not in the ratios)": ("load_gt",),
}


def step_table(runs: Runs) -> Table:
    """Median seconds of each step and peak memory, sides as columns."""
    table = plain_table("Step, s", *runs)
    for name, *cells in _step_rows(runs):
        table.add_row(name, *cells)
    return table


def ratio_table(runs: Runs) -> Table:
    """How many times as much the devkit needs: median over the rounds, smallest and largest."""
    table = plain_table("The devkit needs", "times as much", "smallest", "largest")
    for name, *cells in _ratio_rows(runs):
        table.add_row(name, *cells)
    return table


def to_markdown(runs: Runs, problem: str, sizes: str, rounds: int) -> str:
    """Both tables, and what was measured."""
    parts = [
        f"{problem} ({sizes}); each side in a process of its own, in turn, {rounds} rounds, medians.",
        markdown_table(["step, s", *runs], list(_step_rows(runs))),
    ]
    if "devkit" in runs:
        parts.append(
            markdown_table(["the devkit needs", "times as much", "smallest", "largest"], list(_ratio_rows(runs)))
        )
    return "\n\n".join(parts) + "\n"


def _step_rows(runs: Runs) -> Iterator[list[str]]:
    for name, steps in _STEPS.items():
        yield [
            name,
            *(
                f"{median(sum(one.seconds.get(step, 0.0) for step in steps) for one in side):.2f}"
                for side in runs.values()
            ),
        ]
    yield ["peak memory, MiB", *(f"{median(one.peak_bytes for one in side) / 2**20:.0f}" for side in runs.values())]


def _ratio_rows(runs: Runs) -> Iterator[list[str]]:
    quantities: dict[str, tuple[str, Callable[[Run], float], Callable[[Run], float]]] = {
        "time, boxes to NDS, against columns to NDS": (
            "columns",
            lambda run: run.from_file,
            lambda run: run.from_boxes,
        ),
        "time, JSON to NDS": ("JSON", lambda run: run.from_file, lambda run: run.from_file),
        "memory, JSON to NDS": ("JSON", lambda run: run.peak_bytes, lambda run: run.peak_bytes),
    }
    for name, (side, ours, theirs) in quantities.items():
        ratios = [theirs(them) / ours(us) for us, them in zip(runs[side], runs["devkit"], strict=True)]
        yield [name, *(f"{value:.1f}" for value in (median(ratios), min(ratios), max(ratios)))]
