"""The tables of `aqr benchmark model`, on the screen and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from aqr_train.benchmarks.model_runs import Measurement, PartFigures
from aqr_train.benchmarks.tables import Grid

MIB = 1024**2
PART_COLUMNS = ("part", "p50 ms", "p95 ms", "share", "peak MiB", "arithmetic")
SUMMARY_COLUMNS = ("batch", "precision", "p50 ms", "p95 ms", "samples/s", "peak MiB")
WORDS = ("part", "precision", "arithmetic")
NOTES = """\
- Time: {clock}. Each stretch between two hooks belongs to the innermost part, so the rows add up to the whole in every
  run; percentiles are taken row by row and do not add up. Loading, collating and the way to the device are not in it.
- "head: codes of positions and queries" is the head without its other rows: positional codes of cells, rays and
  queries, the assembly of the memory, and the scaling of the predicted centres.
- Peak: the most that tensors held during the part over what they held when the run began (weights, optimiser state and
  the batch are not in it): torch's allocator on CUDA, every allocation and release that torch's profiler lists on a
  CPU. Buffers inside oneDNN, cuDNN or spconv are not seen.
- Arithmetic: precisions of matrix products, convolutions and fused attention that really ran in the part, and the
  attention kernels. Under bf16 and fp16 a part that shows fp32 alone is one that the model keeps in float32.
"""


def tables(measured: Sequence[Measurement]) -> Iterator[Table]:
    """A table per setting, then the summary."""
    for grid in (*_settings(measured), _summary(measured)):
        yield grid.rich()


def markdown(facts: Sequence[str], measured: Sequence[Measurement], *, training: bool, on_cuda: bool) -> str:
    """The whole report; `facts` are what the figures depend on."""
    what = "training step: forward, losses, backward, clipping, update" if training else "`predict`: batch to boxes"
    clock = "CUDA events, read after the run" if on_cuda else "`time.perf_counter`"
    lines = [f"# Model benchmark, {what}", "", *(f"- {fact}" for fact in facts), ""]
    for grid in (_summary(measured), *_settings(measured)):
        lines += grid.markdown()
    return "\n".join([*lines, "## What is measured", "", NOTES.format(clock=clock)])


def _settings(measured: Sequence[Measurement]) -> list[Grid]:
    return [Grid(_title(m), PART_COLUMNS, _part_rows(m), WORDS) for m in measured if m.whole is not None]


def _summary(measured: Sequence[Measurement]) -> Grid:
    return Grid("Summary", SUMMARY_COLUMNS, [_summary_row(measurement) for measurement in measured], WORDS)


def _title(measurement: Measurement) -> str:
    return f"batch {measurement.batch_size}, {measurement.precision}"


def _part_rows(measurement: Measurement) -> list[tuple[str, ...]]:
    whole = measurement.whole
    assert whole is not None
    rows = [_row(name, figures, whole) for name, figures in measurement.parts.items()]
    return [*rows, _row("whole", whole, whole)]


def _row(name: str, figures: PartFigures, whole: PartFigures) -> tuple[str, ...]:
    share = f"{100 * figures.p50_s / whole.p50_s:.1f} %"
    return (name, *_times(figures), share, f"{figures.peak_bytes / MIB:.0f}", figures.arithmetic)


def _summary_row(measurement: Measurement) -> tuple[str, ...]:
    setting = (str(measurement.batch_size), measurement.precision)
    if measurement.whole is None:
        return (*setting, f"not run: {measurement.failure}", "", "", "")
    whole = measurement.whole
    rate = f"{measurement.batch_size / whole.p50_s:.2f}"
    return (*setting, *_times(whole), rate, f"{whole.peak_bytes / MIB:.0f}")


def _times(figures: PartFigures) -> tuple[str, str]:
    return f"{1000 * figures.p50_s:.1f}", f"{1000 * figures.p95_s:.1f}"
