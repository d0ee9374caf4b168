"""The tables of `aqr benchmark aqr`: ratios with their targets first, absolute figures second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aqr_train.benchmarks.aqr_floor import Floor
from aqr_train.benchmarks.aqr_sides import RECIPE
from aqr_train.benchmarks.tables import Grid
from aqr_train.benchmarks.turns import BACKWARD, FORWARD, SideFigures, Spread, cpu_ratio, time_ratio

MIB = 1024**2
WORDS = ("side", "target", "work")
NOTES = """\
- Every ratio is over the first row of its table. In a round all sides run once, in turn; a time ratio is taken in each
  round, and the table has the median (smallest to largest). Time: {clock}.
- All sides of "head" and "full model" train the same parameters, AQR's own added, on the same input with the same
  random numbers. "{recipe}" is the shipped recipe: it trains less, so it may be faster than the baseline.
- CPU time: of all threads of the process. Other processes disturb it less than the time, which the targets are for.
- Head: denoising, forward, losses, backward down to the features. Full model: the trainer's step, clipping and update
  included. Attention: one cross-attention of the decoder without its projections, its bias made beforehand.
- Memory: the most that tensors held over what they held before the step (weights, optimiser state and batch are not in
  it): torch's allocator on CUDA, every allocation that torch's profiler lists on a CPU.
"""
FLOOR_NOTE = """\
- Floor: the time ratio if AQR did only the operations and moved only the bytes that no implementation can do without,
  a bias as if added inside the fused kernel, at the speed of this machine: {operations:.0f} GFLOP/s in a projection of
  all tokens, {bytes:.1f} GB/s in a copy, whichever takes longer.
"""


@dataclass(frozen=True)
class Targets:
    """Bounds of the ratios to the baseline; None for no bound.

    Attributes:
        time: at most.
        memory: at most.
        speedup: times faster, at least.
        sides: whom they concern.
    """

    time: float | None = None
    memory: float | None = None
    speedup: float | None = None
    sides: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """Sides against the first of them.

    Attributes:
        title: what was run.
        figures: name -> what was measured, the baseline first.
        targets: see there.
        floor: least work that the sides in it add.
        on_cpu: the CPU does the work, so its time is shown too.
    """

    title: str
    figures: Mapping[str, SideFigures]
    targets: Targets = field(default_factory=Targets)
    floor: Floor | None = None
    on_cpu: bool = True

    @property
    def baseline(self) -> SideFigures:
        """The first side."""
        return next(iter(self.figures.values()))

    def ratios(self) -> Grid:
        """Of time and memory, with the targets."""
        if self.targets.speedup is not None:
            rows = [self._speedup_row(name, side) for name, side in self.figures.items()]
            return _grid(self.title, ("side", "times faster", "target"), rows)
        columns = ("side", "time", "target", "CPU time", "floor", FORWARD, BACKWARD, "memory", "target")
        rows = [self._ratio_row(name, side) for name, side in self.figures.items()]
        return _grid(self.title, columns, rows)

    def absolute(self) -> Grid:
        """Milliseconds and MiB."""
        columns = ("side", "ms", "fastest to slowest", f"{FORWARD} ms", f"{BACKWARD} ms", "peak MiB")
        rows = []
        for name, side in self.figures.items():
            whole = Spread.of(side.seconds())
            parts = (_milliseconds(side, stretch) for stretch in (FORWARD, BACKWARD))
            peak = "" if side.peak_bytes is None else f"{side.peak_bytes / MIB:.0f}"
            rows.append((name, _ms(whole.median), f"{_ms(whole.low)} to {_ms(whole.high)}", *parts, peak))
        return _grid(f"{self.title}: absolute", columns, rows)

    def _ratio_row(self, name: str, side: SideFigures) -> tuple[str, ...]:
        time, memory = time_ratio(side, self.baseline), _memory_ratio(side, self.baseline)
        stretches = (
            f"{time_ratio(side, self.baseline, stretch).median:.2f}" if side.has(stretch) else ""
            for stretch in (FORWARD, BACKWARD)
        )
        floor = ""
        if self.floor is not None and name in self.floor.added:
            floor = f"{self.floor.ratio(name, Spread.of(self.baseline.seconds()).median):.2f}"
        targets = self.targets if name in self.targets.sides else Targets()
        return (
            name,
            _spread(time),
            _verdict(time.median, targets.time),
            _spread(cpu_ratio(side, self.baseline)) if self.on_cpu else "",
            floor,
            *stretches,
            "" if memory is None else f"{memory:.2f}",
            _verdict(memory, targets.memory),
        )

    def _speedup_row(self, name: str, side: SideFigures) -> tuple[str, ...]:
        slower = time_ratio(side, self.baseline)
        faster = Spread(1 / slower.median, 1 / slower.high, 1 / slower.low)
        wanted = self.targets.speedup if name in self.targets.sides else None
        verdict = "" if wanted is None else f"at least {wanted:g}: {'met' if faster.median >= wanted else 'missed'}"
        return name, f"{faster.median:.0f} ({faster.low:.0f} to {faster.high:.0f})", verdict


def grids(comparisons: Sequence[Comparison], floor: Floor | None) -> Iterator[Grid]:
    """All tables."""
    yield from (comparison.ratios() for comparison in comparisons)
    yield from (comparison.absolute() for comparison in comparisons)
    if floor is not None:
        yield _work(floor)


def markdown(facts: Sequence[str], comparisons: Sequence[Comparison], floor: Floor | None, *, on_cuda: bool) -> str:
    """The whole report; `facts` are what the figures depend on."""
    lines = ["# Cost of AQR", "", *(f"- {fact}" for fact in facts), ""]
    for grid in grids(comparisons, floor):
        lines += grid.markdown()
    notes = NOTES.format(clock="CUDA events, read after the run" if on_cuda else "`time.perf_counter`", recipe=RECIPE)
    if floor is not None:
        notes += FLOOR_NOTE.format(operations=floor.rates.operations / 1e9, bytes=floor.rates.bytes / 1e9)
    return "\n".join([*lines, "## What is measured", "", notes])


def _work(floor: Floor) -> Grid:
    work = {("baseline", "the step, as counted"): floor.baseline}
    work |= {(name, part): least for name, parts in floor.added.items() for part, least in parts.items()}
    rows = [
        (*names, f"{least.operations / 1e9:.2f}", f"{least.bytes / MIB:.0f}", _ms(floor.rates.seconds(least)))
        for names, least in work.items()
    ]
    return _grid("Work of the head's training step", ("side", "work", "GFLOP", "MiB", "at least ms"), rows)


def _grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """Without columns that nothing is in."""
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return Grid(title, [columns[place] for place in kept], [[row[place] for place in kept] for row in rows], WORDS)


def _memory_ratio(side: SideFigures, baseline: SideFigures) -> float | None:
    if side.peak_bytes is None or not baseline.peak_bytes:
        return None
    return side.peak_bytes / baseline.peak_bytes


def _verdict(value: float | None, at_most: float | None) -> str:
    if value is None or at_most is None:
        return ""
    return f"at most {at_most:.2f}: {'met' if value <= at_most else 'missed'}"


def _spread(value: Spread) -> str:
    return f"{value.median:.2f} ({value.low:.2f} to {value.high:.2f})"


def _milliseconds(side: SideFigures, stretch: str) -> str:
    return _ms(Spread.of(side.seconds(stretch)).median) if side.has(stretch) else ""


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"
