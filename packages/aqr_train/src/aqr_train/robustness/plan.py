"""Which cells of a suite a config is tested by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aqr_core.data.faults import Cell, suite, with_faults
from aqr_core.errors import ConfigError
from aqr_core.registry import suggest
from aqr_eval.robustness import CLEAN, SkippedCell


@dataclass(frozen=True)
class Trial:
    """A cell and the test set that it makes.

    Attributes:
        cell: of a suite, or `CLEAN_CELL`.
        entry: a `data` entry with the cell's failures in its pipeline.
    """

    cell: Cell
    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        """In words, and of its files: 'fog-2'."""
        return self.cell.name if self.cell is CLEAN_CELL else f"{self.cell.name}-{self.cell.severity}"


CLEAN_CELL = Cell(CLEAN, 0, ())


def choose_cells(name: str, only: Sequence[str] | None = None, severities: Sequence[int] | None = None) -> list[Cell]:
    """Those of a suite that are asked for; by default all.

    Raises:
        ConfigError: no such suite, no such corruption or severity in it, or none that has both.
    """
    cells = suite(name)
    corruptions = list(dict.fromkeys(cell.name for cell in cells))
    for corruption in only or ():
        if corruption not in corruptions:
            raise ConfigError(f"--only {corruption} is not in {name}.{suggest(corruption, corruptions)}")
    known = sorted({cell.severity for cell in cells})
    for severity in severities or ():
        if severity not in known:
            raise ConfigError(f"--severity {severity} is not in {name}; give one of {', '.join(map(str, known))}.")
    chosen = [cell for cell in cells if cell.name in (only or corruptions) and cell.severity in (severities or known)]
    if not chosen:
        raise ConfigError(f"--only and --severity leave no cell of {name}; ask for less of one of them.")
    return chosen


def place_cells(
    cells: Sequence[Cell], entry: Mapping[str, Any], seed: int
) -> tuple[list[Trial], tuple[SkippedCell, ...]]:
    """The clean test and those of the cells, and the cells under which nothing would change.

    Args:
        cells: of a suite.
        entry: the clean test set.
        seed: of the failures.

    Raises:
        ConfigError: nothing would change under any of them.
    """
    trials, skipped = [Trial(CLEAN_CELL, entry)], []
    for cell in cells:
        try:
            trials.append(Trial(cell, with_faults(entry, cell.steps, seed)))
        except ConfigError as error:  # the pipeline loads no sensor that the cell strikes
            skipped.append(SkippedCell(cell.name, cell.severity, str(error).partition(";")[0]))
            refusal = error
    if skipped and len(trials) == 1:
        raise refusal
    return trials, tuple(skipped)
