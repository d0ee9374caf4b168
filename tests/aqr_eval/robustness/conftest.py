"""Runs whose numbers can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from aqr_eval.robustness import CLEAN, CellResult, RobustnessRun

Build = Callable[..., RobustnessRun]


@pytest.fixture
def build() -> Build:
    """`build(model, clean NDS, {corruption: NDS per severity})`; mAP is half of NDS."""

    def make(model: str, clean: float, nds: Mapping[str, Sequence[float]], **more: object) -> RobustnessRun:
        cells = [
            CellResult(name, severity, value, value / 2)
            for name, values in nds.items()
            for severity, value in enumerate(values, start=1)
        ]
        return RobustnessRun(
            model, str(more.pop("suite", "made-up")), CellResult(CLEAN, 0, clean, clean / 2), tuple(cells), **more
        )

    return make


@pytest.fixture
def pair(build: Build) -> tuple[RobustnessRun, RobustnessRun]:
    """A model, and a baseline that is worse in fog and better in snow."""
    return (
        build("ours", 0.8, {"fog": (0.6, 0.4), "snow": (0.2,)}),
        build("base", 0.5, {"fog": (0.5, 0.3), "snow": (0.4,)}),
    )
