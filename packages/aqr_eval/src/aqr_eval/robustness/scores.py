"""What a suite comes to: how much of the clean score is kept, and how much better than another model it is.

M is NDS unless said otherwise, c a corruption, s one of its severities. Means over corruptions weigh each alike,
however many severities it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.robustness.run import CellResult, RobustnessRun


def resistance(run: RobustnessRun, metric: str = "NDS") -> dict[str, float]:
    """RA of MultiCorrupt (arXiv 2402.11677): RA_c = mean over s of M_cs / M_clean; NaN where M_clean is 0."""
    clean = run.clean.value(metric)
    return {
        name: _mean(cell.value(metric) for cell in cells) / clean if clean else math.nan
        for name, cells in run.by_corruption.items()
    }


def mean_resistance(run: RobustnessRun, metric: str = "NDS") -> float:
    """The mRA of MultiCorrupt: the mean of RA over the corruptions."""
    return _mean(resistance(run, metric).values())


def mean_resilience_rate(run: RobustnessRun) -> float:
    """The mRR of RoboBEV (arXiv 2304.06719): the mean over c of RR_c = sum over s of NDS_cs / (S NDS_clean).

    S is the number of severities. With NDS this is the same number as mRA: two benchmarks have the same measure under
    two names.
    """
    return mean_resistance(run, "NDS")


def relative_resistance(run: RobustnessRun, baseline: RobustnessRun, metric: str = "NDS") -> dict[str, float]:
    """RRA of MultiCorrupt: RRA_c = sum over s of M_cs / sum over s of M_cs of the baseline, less 1; above 0 is better.

    NaN where the baseline scores 0.

    Raises:
        DataError: the two have other cells; see `common_cells`.
    """
    return {
        name: _ratio(_total(own, metric), _total(others, metric)) - 1 for name, own, others in _paired(run, baseline)
    }


def mean_relative_resistance(run: RobustnessRun, baseline: RobustnessRun, metric: str = "NDS") -> float:
    """The mRRA of MultiCorrupt: the mean of RRA over the corruptions. Same errors."""
    return _mean(relative_resistance(run, baseline, metric).values())


def corruption_errors(run: RobustnessRun, baseline: RobustnessRun) -> dict[str, float]:
    """CE of RoboBEV: CE_c = sum over s of (1 - NDS_cs) / the same sum of the baseline; below 1 is better.

    RoboBEV writes it in per cent, with DETR3D as the baseline. Same errors as `relative_resistance`.
    """
    return {
        name: _ratio(len(own) - _total(own, "NDS"), len(others) - _total(others, "NDS"))
        for name, own, others in _paired(run, baseline)
    }


def mean_corruption_error(run: RobustnessRun, baseline: RobustnessRun) -> float:
    """The mCE of RoboBEV: the mean of CE over the corruptions. Same errors."""
    return _mean(corruption_errors(run, baseline).values())


def _paired(
    run: RobustnessRun, baseline: RobustnessRun
) -> Iterable[tuple[str, tuple[CellResult, ...], tuple[CellResult, ...]]]:
    """Corruption, its cells of both."""
    if set(run.keys) != set(baseline.keys):
        raise DataError(
            f"{run.model} has {len(run.cells)} cells and {baseline.model} {len(baseline.cells)}, which are not the "
            "same ones; compare the cells that both have, by `common_cells`."
        )
    others = baseline.by_corruption
    return [(name, cells, others[name]) for name, cells in run.by_corruption.items()]


def _total(cells: Iterable[CellResult], metric: str) -> float:
    return math.fsum(cell.value(metric) for cell in cells)


def _ratio(value: float, baseline: float) -> float:
    return value / baseline if baseline else math.nan


def _mean(values: Iterable[float]) -> float:
    """NaN of nothing."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan
