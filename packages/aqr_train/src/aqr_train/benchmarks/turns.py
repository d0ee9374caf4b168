"""Sides that do one job in different ways, run in turn, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aqr_train.benchmarks.model_runs import Run
from aqr_train.benchmarks.probes import Clock, peak_memory
from aqr_train.seeding import seed_all

FORWARD, BACKWARD = "forward", "backward"
_ROUND_S = 0.1  # a short run is repeated, or a tick of the machine decides


@dataclass(frozen=True)
class SideFigures:
    """What one side took.

    Attributes:
        rounds: per round, seconds of each stretch.
        cpu_seconds: per round, CPU time of this process in one run; it counts waiting threads, but not other processes.
        peak_bytes: most that tensors held over what they held when the run began; None if not taken.
    """

    rounds: tuple[Mapping[str, float], ...]
    cpu_seconds: tuple[float, ...]
    peak_bytes: int | None = None

    def seconds(self, stretch: str | None = None) -> list[float]:
        """Per round, of one stretch or of the whole."""
        return [sum(times.values()) if stretch is None else times[stretch] for times in self.rounds]

    def has(self, stretch: str) -> bool:
        """Whether the run had such a stretch."""
        return stretch in self.rounds[0]


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of figures taken once per round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(float(np.median(values)), min(values), max(values))


def time_ratio(side: SideFigures, baseline: SideFigures, stretch: str | None = None) -> Spread:
    """Over the baseline, round by round: two runs that follow each other meet the same machine."""
    pairs = zip(side.seconds(stretch), baseline.seconds(stretch), strict=True)
    return Spread.of([own / base for own, base in pairs])


def cpu_ratio(side: SideFigures, baseline: SideFigures) -> Spread:
    """The same of CPU time."""
    return Spread.of([own / base for own, base in zip(side.cpu_seconds, baseline.cpu_seconds, strict=True)])


def take_turns(
    sides: Mapping[str, Run], device: torch.device, rounds: int, *, memory: bool = True
) -> dict[str, SideFigures]:
    """Every side once to warm up and, for its `memory`, once more, then all of them `rounds` times.

    A round gives every side the same random numbers. The first place rotates, so that none always follows the same one.
    """
    peaks = {name: _warm_up(run, device, memory) for name, run in sides.items()}
    timed: dict[str, list[tuple[dict[str, float], float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in _rotated(list(sides), number):
            timed[name].append(_time(sides[name], device, number))
    return {
        name: SideFigures(tuple(stretches for stretches, _ in found), tuple(cpu for _, cpu in found), peaks[name])
        for name, found in timed.items()
    }


def _time(run: Run, device: torch.device, seed: int) -> tuple[dict[str, float], float]:
    """Seconds of each stretch, and CPU seconds: medians of as many runs as fill `_ROUND_S`."""
    runs: list[dict[str, float]] = []
    cpu: list[float] = []
    until = time.perf_counter() + _ROUND_S
    while not runs or time.perf_counter() < until:
        seed_all(seed)
        clock, started = Clock(device), time.process_time()
        run(clock.mark)
        runs.append(clock.seconds())
        cpu.append(time.process_time() - started)
    return {stretch: float(np.median([times[stretch] for times in runs])) for stretch in runs[0]}, float(np.median(cpu))


def _warm_up(run: Run, device: torch.device, memory: bool) -> int | None:
    seed_all(0)
    run(lambda part: None)
    return max(peak_memory(device, run).values()) if memory else None


def _rotated(names: list[str], by: int) -> Iterator[str]:
    first = by % len(names)
    yield from names[first:] + names[:first]
