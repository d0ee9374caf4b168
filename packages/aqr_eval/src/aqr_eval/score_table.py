"""Scores as tables on the screen, narrow enough for 80 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from aqr_eval.config import TP_ERRORS
from aqr_eval.metrics import DetectionMetrics

ERROR_TITLES = {
    "trans_err": "ATE m",
    "scale_err": "ASE",
    "orient_err": "AOE rad",
    "vel_err": "AVE m/s",
    "attr_err": "AAE",
}


def summary_table(metrics: Mapping[str, DetectionMetrics]) -> Table:
    """One row per submission: NDS, mAP and the five errors averaged over the classes."""
    table = plain_table("Submission", "NDS", "mAP", *(f"m{ERROR_TITLES[error]}" for error in TP_ERRORS))
    for name, one in metrics.items():
        errors = one.tp_errors
        table.add_row(Text(name), *map(_number, (one.nd_score, one.mean_ap, *(errors[error] for error in TP_ERRORS))))
    return table


def class_table(metrics: DetectionMetrics, title: str) -> Table:
    """One row per class: average precision, the five errors, and how many boxes were counted."""
    table = plain_table("Class", "AP", *(ERROR_TITLES[error] for error in TP_ERRORS), "true", "found")
    table.title = Text(title)
    for name in metrics.config.class_names:
        curve = metrics.curves[name, metrics.config.dist_th_tp]
        errors = (metrics.label_tp_errors[name][error] for error in TP_ERRORS)
        numbers = map(_number, (metrics.mean_dist_aps[name], *errors))
        table.add_row(name, *numbers, str(curve.num_gt), str(curve.num_predictions))
    return table


def plain_table(*headers: str) -> Table:
    """An empty table of the commands' style: names on the left, numbers on the right."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, title_justify="left")
    for number, header in enumerate(headers):
        table.add_column(Text(header), justify="right" if number else "left")
    return table


def signed(value: float, digits: int) -> str:
    """A difference with its sign; no minus before a zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
