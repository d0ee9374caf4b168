"""What one model reached in a suite of sensor failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

CLEAN = "clean"
METRICS = ("NDS", "mAP")


@dataclass(frozen=True)
class CellResult:
    """The scores under one failure in one severity, or without any.

    Attributes:
        corruption: the failure, or `CLEAN`.
        severity: counts from 1, the mildest; 0 of the clean test.
        nds, mean_ap: NDS and mAP, in [0, 1].
        tp_errors: 'trans_err' and so on -> mean error; NaN where no class has one.
        removed: what the failure did to a keyframe on average, such as 'ViewDrop/images_lost'.
        differs: what keeps its numbers from being compared with published ones; empty where nothing does.
    """

    corruption: str
    severity: int
    nds: float
    mean_ap: float
    tp_errors: Mapping[str, float] = field(default_factory=dict)
    removed: Mapping[str, float] = field(default_factory=dict)
    differs: str = ""

    def value(self, metric: str) -> float:
        """One of `METRICS`."""
        return {"NDS": self.nds, "mAP": self.mean_ap}[metric]


@dataclass(frozen=True)
class SkippedCell:
    """A cell that says nothing about the model, and why."""

    corruption: str
    severity: int
    reason: str


@dataclass(frozen=True)
class RobustnessRun:
    """All cells of one model.

    Attributes:
        model: its name.
        suite: of which the cells are, all or some.
        clean: the test without failure.
        cells: severities of a corruption ascend and stand together.
        skipped: cells that were asked for and not made.
        seed: of the failures.
        keyframes: that were predicted; 0 where nobody says.
    """

    model: str
    suite: str
    clean: CellResult
    cells: tuple[CellResult, ...]
    skipped: tuple[SkippedCell, ...] = ()
    seed: int = 0
    keyframes: int = 0

    @property
    def by_corruption(self) -> dict[str, tuple[CellResult, ...]]:
        """Corruption -> its severities, in the order of the suite."""
        return {name: tuple(cells) for name, cells in groupby(self.cells, key=lambda cell: cell.corruption)}

    @property
    def keys(self) -> tuple[tuple[str, int], ...]:
        """Corruption and severity of each cell."""
        return tuple((cell.corruption, cell.severity) for cell in self.cells)
