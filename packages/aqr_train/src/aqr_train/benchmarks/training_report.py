"""The tables of `aqr benchmark training`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aqr_train.benchmarks.model_runs import ROWS
from aqr_train.benchmarks.tables import Grid
from aqr_train.benchmarks.training_data import DataWait, cores
from aqr_train.benchmarks.training_frozen import FULL, RECIPE, FrozenComparison
from aqr_train.benchmarks.training_overhead import BARE, TRAINER, Overhead
from aqr_train.benchmarks.turns import Spread, cpu_ratio

MIB = 1024**2
TIMES_FASTER, MEMORY, OVERHEAD, WAIT = 1.5, 0.6, 0.03, 0.05  # the targets
WORDS = ("side", "part", "figure", "target", "what")

NOTES = """\
- Ratios are taken within one run. In a round both sides run once, in turn; a ratio is taken in each round, and the
  table has the median (smallest to largest).
- Frozen recipe: the config as it is against the same with every group trained, on the same batch with the same random
  numbers, the trainer's whole step. Memory: the most that tensors held at any time: weights, moments and batch, and
  what a step adds to them (gradients and activations), by torch's allocator on CUDA and by the allocations that torch's
  profiler lists on a CPU.
- Frozen parts: those in which nothing trains. The rest of the recipe's step, forward and backward of necks and head,
  the losses, clipping and update, is work that no way of running the frozen parts saves.
- Trainer: its steps with log, TensorBoard, progress bar, finite checks and AQR's monitor against a loop over the same
  loader, model, AdamW, clipping and schedule that does nothing else. Validation and checkpoints are not in it.
- Waiting for data: the time that a step waits for `next` of the loader. Workers: samples per second times the CPU time
  of one sample, rounded up; each needs a core of its own.
"""


@dataclass(frozen=True)
class Report:
    """What was measured; None for a part that was not asked for.

    Attributes:
        frozen, overhead, data: see their classes.
        gpu_step_s: length of a step that is assumed for a GPU.
    """

    frozen: FrozenComparison | None = None
    overhead: Overhead | None = None
    data: DataWait | None = None
    gpu_step_s: float = 0.25

    def grids(self) -> Iterator[Grid]:
        """All tables."""
        yield Grid("Targets", ("figure", "value", "target"), list(self._targets()), WORDS)
        if self.frozen is not None:
            yield from _frozen_grids(self.frozen)
        if self.overhead is not None:
            yield from _overhead_grids(self.overhead)
        if self.data is not None:
            yield _data_grid(self.data, self.gpu_step_s)

    def markdown(self, facts: Sequence[str]) -> str:
        """The whole page; `facts` are what the figures depend on."""
        lines = ["# Cost of training", "", *(f"- {fact}" for fact in facts), ""]
        for grid in self.grids():
            lines += grid.markdown()
        return "\n".join([*lines, "## What is measured", "", NOTES])

    def _targets(self) -> Iterator[tuple[str, str, str]]:
        if self.frozen is not None:
            faster, memory = self.frozen.times_faster, self.frozen.memory_ratio
            yield "frozen recipe, times faster", spread(faster), at_least(faster.median, TIMES_FASTER)
            yield "frozen recipe, memory", f"{memory:.2f}", at_most(memory, MEMORY)
        if self.overhead is not None:
            added = self.overhead.ratio
            shown = f"{added.median - 1:.1%} ({added.low - 1:.1%} to {added.high - 1:.1%})"
            yield "trainer over a bare loop", shown, at_most(added.median - 1, OVERHEAD, percent=True)
        if self.data is not None:
            yield (
                "share of the step that waits for data",
                f"{self.data.share:.1%}",
                at_most(self.data.share, WAIT, percent=True),
            )


def at_least(value: float, bound: float) -> str:
    """Verdict of a figure that should be large."""
    return f"at least {bound:g}: {'met' if value >= bound else 'missed'}"


def at_most(value: float, bound: float, *, percent: bool = False) -> str:
    """Verdict of a figure that should be small."""
    return f"at most {f'{bound:.0%}' if percent else f'{bound:g}'}: {'met' if value <= bound else 'missed'}"


def spread(value: Spread, scale: float = 1.0, digits: int = 2) -> str:
    """Median (smallest to largest)."""
    return f"{scale * value.median:.{digits}f} ({scale * value.low:.{digits}f} to {scale * value.high:.{digits}f})"


def _frozen_grids(compared: FrozenComparison) -> Iterator[Grid]:
    full, recipe = compared.full, compared.recipe
    rows = [
        (
            name,
            f"{side.trained / 1e6:.1f} of {side.parameters / 1e6:.1f}",
            spread(Spread.of(side.figures.seconds())),
            f"{1 / cpu_ratio(side.figures, full.figures).median:.2f}",
            f"{side.peak_bytes / MIB:.0f}",
            f"{side.held_bytes / MIB:.0f}",
        )
        for name, side in ((FULL, full), (RECIPE, recipe))
    ]
    columns = ("side", "M parameters train", "s per step", "times faster in CPU time", "peak MiB", "held between steps")
    yield Grid("Frozen recipe against training every group", columns, rows, WORDS)
    yield Grid(
        "Where a step goes", ("part", f"{FULL}, ms", f"{RECIPE}, ms", "saved, ms"), list(_parts(compared)), WORDS
    )
    kept_s = recipe.step_s - recipe.frozen_s
    floor = [
        ("frozen parts, of the recipe's step", f"{recipe.frozen_s / recipe.step_s:.0%}"),
        ("all else of the recipe, of the step that trains every group", f"{kept_s / full.step_s:.0%}"),
        ("times faster if the frozen parts took no time", f"at most {full.step_s / kept_s:.2f}"),
    ]
    yield Grid("Floor of the recipe's step", ("what", "value"), floor, WORDS)


def _parts(compared: FrozenComparison) -> Iterator[tuple[str, ...]]:
    for part in ROWS:
        if compared.full.figures.has(part):
            full, recipe = (1e3 * side.part_s(part) for side in (compared.full, compared.recipe))
            name = f"{part} (frozen)" if part in compared.recipe.frozen_parts else part
            yield name, f"{full:.0f}", f"{recipe:.0f}", f"{full - recipe:.0f}"


def _overhead_grids(measured: Overhead) -> Iterator[Grid]:
    rows = [(side, spread(measured.step_s(side), 1e3, 1)) for side in (BARE, TRAINER)]
    rows.append(("trainer, added", spread(measured.added_s, 1e3, 1)))
    yield Grid("Trainer over a bare loop", ("side", "ms per step"), rows, WORDS)
    parts = [(name, f"{1e3 * seconds:.2f}") for name, seconds in measured.callbacks.items()]
    yield Grid("What the callbacks take", ("part", "ms per step"), parts, WORDS)


def _data_grid(data: DataWait, gpu_step_s: float) -> Grid:
    rows = [
        ("batch", str(data.batch_size)),
        ("workers", f"{data.workers} on {cores()} cores"),
        ("wait per step", f"{spread(Spread.of(data.waits), 1e3, 1)} ms"),
        ("rest of the step", f"{spread(Spread.of(data.steps))} s"),
        ("share of waiting", f"{data.share:.1%}"),
        ("wait for the first batch, once per pass", f"{data.first_wait_s:.2f} s"),
        ("CPU time of a sample", f"{spread(data.sample_s, 1e3, 0)} ms"),
        *(
            (
                f"workers for a step of {step_s:.2f} s, {data.batch_size / step_s:.1f} samples/s",
                f"{data.workers_for(step_s)} ({data.cores_for(step_s):.2f} cores)",
            )
            for step_s in (data.step_s, gpu_step_s)
        ),
    ]
    return Grid("Waiting for data", ("what", "value"), rows, WORDS)
