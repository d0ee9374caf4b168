"""An analysis on the screen, within 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from aqr_eval.analysis.bootstrap import Intervals
from aqr_eval.analysis.breakdown import Breakdown, Group
from aqr_eval.analysis.calibration import Calibration, Reliability
from aqr_eval.analysis.error_costs import ErrorAnalysis, ErrorKind
from aqr_eval.config import TP_ERRORS
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.score_table import ERROR_TITLES, plain_table

_BAR = 20  # characters of a bar that stands for 1
_SHORT = dict(
    zip(
        DETECTION_CLASSES,
        ("car", "truck", "c. v.", "bus", "trail", "barr.", "moto", "bike", "ped.", "cone"),
        strict=True,
    )
)


def breakdown_table(breakdown: Breakdown) -> Table:
    """One row per group: its numbers over the classes it has."""
    titles = (ERROR_TITLES[error] for error in TP_ERRORS)
    table = plain_table("Boxes", "true", "recall", "AP", "NDS", *titles)
    table.title = Text("Recall at 2 m of all boxes; the other numbers over the classes present")
    table.add_row(breakdown.whole.label, *_group_cells(breakdown.whole), end_section=True)
    for name, groups in breakdown.groups.items():
        table.add_row(Text(f"by {name}", style="dim"))
        for number, group in enumerate(groups):
            table.add_row(Text(group.label), *_group_cells(group), end_section=number == len(groups) - 1)
    return table


def group_class_table(breakdown: Breakdown) -> Table:
    """AP per class of each group; recall at 2 m where false positives have no such property."""
    table = plain_table("Boxes", *_SHORT.values())
    table.title = Text("AP per class")
    for name, groups in breakdown.groups.items():
        if name == "class":
            continue
        precise = not math.isnan(groups[0].mean_ap) if groups else True
        table.add_row(Text(f"by {name}" if precise else f"{name}: recall", style="dim"))
        for number, group in enumerate(groups):
            of_class = {label: one.ap if precise else one.recall for label, one in group.classes.items()}
            cells = (_number(of_class.get(label, math.nan)) for label in _SHORT)
            table.add_row(Text(group.label), *cells, end_section=number == len(groups) - 1)
    return table


def interval_table(intervals: Intervals) -> Table:
    """Every number with its interval."""
    table = plain_table("", "value", "low", "high", "width")
    table.title = Text(f"{intervals.coverage:.0%} intervals, {intervals.draws} draws of {intervals.scenes} scenes")
    for name, one in intervals.of.items():
        title = f"m{ERROR_TITLES[name]}" if name in ERROR_TITLES else name
        numbers = (one.value, one.low, one.high, one.high - one.low)
        table.add_row(title, *(f"{number:.4f}" for number in numbers), end_section=name == TP_ERRORS[-1])
    return table


def error_tables(analysis: ErrorAnalysis) -> Iterator[Table]:
    """How often each kind happens and what it costs, in total and per class."""
    kinds = tuple(analysis.total)
    count = plain_table("Mistakes at 2 m", *kinds)
    cost = plain_table("Cost in AP, %", *kinds)
    for name, of in {**analysis.classes, "all": analysis.total}.items():
        count.add_row(name, *(f"{one.count}" for one in of.values()))
        cost.add_row(name, *map(_cost, of.values()))
    yield count
    yield cost


def calibration_tables(calibration: Calibration) -> Iterator[Table]:
    """Score and precision of each bin over all classes, and the calibration error per class."""
    bins = plain_table("Score", "predictions", "mean score", "precision", "")
    bins.columns[-1].justify = "left"
    bins.title = Text("Precision at 2 m (#) and mean score (|)")
    for one in calibration.total.bins:
        numbers = (_number(one.mean_score), _number(one.precision))
        bins.add_row(f"{one.low:.2f}-{one.high:.2f}", str(one.count), *numbers, _bar(one.precision, one.mean_score))
    yield bins
    errors = plain_table("Class", "predictions", "calibration error")
    for name, reliability in {**calibration.classes, "all": calibration.total}.items():
        errors.add_row(name, str(_predictions(reliability)), _number(reliability.ece))
    yield errors


def _group_cells(group: Group) -> Iterator[str]:
    yield str(group.true_boxes)
    numbers = (group.recall[2.0], group.mean_ap_present, group.nds_present)
    yield from map(_number, (*numbers, *(group.tp_errors_present[error] for error in TP_ERRORS)))


def _cost(kind: ErrorKind) -> str:
    return f"{100 * kind.cost + 0.0:.2f}"


def _predictions(reliability: Reliability) -> int:
    return sum(one.count for one in reliability.bins)


def _bar(precision: float, score: float) -> str:
    if math.isnan(precision):
        return ""
    bar = ("#" * round(_BAR * precision)).ljust(_BAR + 1)
    place = round(_BAR * score)
    return f"{bar[:place]}|{bar[place + 1 :]}".rstrip()


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
