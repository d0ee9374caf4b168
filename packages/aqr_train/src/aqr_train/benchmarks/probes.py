"""What is noted while a detector runs, each probe by runs of its own: time, memory, and the arithmetic of the kernels.

A probe's `mark(part)` closes the stretch since the previous mark and counts it to that part (see `parts`).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

from aqr_train.benchmarks.parts import Mark

PRECISION_NAMES = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_overrideable")
_FUSED = "_scaled_dot_product_"
_BOUNDARY = "aqr: boundary of parts"


class Clock:
    """Seconds per part: device events on CUDA, read after one synchronisation at the end; `perf_counter` elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._stamps: list[tuple[str, Any]] = []
        self._synchronise()
        self.mark("")

    def mark(self, part: str) -> None:
        """Note the time."""
        stamp: Any = time.perf_counter()
        if self._on_cuda:
            stamp = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            stamp.record()
        self._stamps.append((part, stamp))

    def seconds(self) -> dict[str, float]:
        """Time per part; the sum is the whole run."""
        self._synchronise()
        total: dict[str, float] = defaultdict(float)
        for (_, begun), (part, ended) in zip(self._stamps, self._stamps[1:], strict=False):
            total[part] += begun.elapsed_time(ended) / 1000 if self._on_cuda else ended - begun
        return dict(total)

    def _synchronise(self) -> None:
        if self._on_cuda:
            torch.cuda.synchronize()


def peak_memory(device: torch.device, run: Callable[[Mark], None]) -> dict[str, int]:
    """Most bytes that tensors held during each part, over what they held when the run began.

    CUDA: the caching allocator's peak. CPU: every allocation and release of torch's allocator, as its profiler lists
    them; memory of other libraries (spconv's own, oneDNN's packed weights) is in neither.
    """
    return _cuda_peak(run) if device.type == "cuda" else _cpu_peak(run)


def _cuda_peak(run: Callable[[Mark], None]) -> dict[str, int]:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    peak: dict[str, int] = defaultdict(int)

    def mark(part: str) -> None:
        peak[part] = max(peak[part], torch.cuda.max_memory_allocated() - before)
        torch.cuda.reset_peak_memory_stats()

    run(mark)
    return dict(peak)


def _cpu_peak(run: Callable[[Mark], None]) -> dict[str, int]:
    order: list[str] = []

    def mark(part: str) -> None:
        order.append(part)
        with record_function(_BOUNDARY):
            pass

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of its start and end on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run(mark)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    timeline = sorted((e for e in events if e.get("name") in (_BOUNDARY, "[memory]")), key=lambda event: event["ts"])
    memory = [event["args"] for event in timeline if event["name"] == "[memory]"]
    # The profiler counts on from its last session, what that left behind included.
    before = memory[0]["Total Allocated"] - memory[0]["Bytes"] if memory else 0
    peak: dict[str, int] = defaultdict(int)
    held = stretch = 0
    parts = iter(order)
    for event in timeline:
        if event["name"] == "[memory]":
            held = event["args"]["Total Allocated"] - before
            stretch = max(stretch, held)
        else:
            part = next(parts)
            peak[part] = max(peak[part], stretch)
            stretch = held
    return dict(peak)


class Arithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """In which precision the matrix products, convolutions and fused attentions of each part ran.

    spconv's kernels do not pass through torch's dispatcher and leave no trace.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, set[str]] = defaultdict(set)
        self._pending: set[str] = set()

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Note one operator and run it."""
        name = func.overloadpacket.__name__
        inputs = [value for value in args if isinstance(value, Tensor)]
        if inputs and (name in _PRODUCTS or name.startswith(_FUSED)):
            precision = PRECISION_NAMES.get(inputs[-1].dtype, str(inputs[-1].dtype))
            self._pending.add(precision)
            if name.startswith(_FUSED):
                self._pending.add(f"{name.removeprefix(_FUSED)} in {precision}")
        return func(*args, **(kwargs or {}))

    def mark(self, part: str) -> None:
        """Count what was noted since the previous mark to a part."""
        self.found[part] |= self._pending
        self._pending = set()


@contextmanager
def arithmetic() -> Iterator[Arithmetic]:
    """The probe, active within the block. Gradients stay off or on; inference mode would hide the operators."""
    with Arithmetic() as probe:
        yield probe
