"""What each part of a model costs, from the events of a torch profiler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
PART = "part: "  # before the name of a module
_NODE = "autograd::engine::evaluate_function"
WAIT, REST = "waiting for data", "everything else"


@dataclass(frozen=True)
class PartTime:
    """Milliseconds per step of one part, without the parts inside it."""

    name: str
    forward_ms: float
    backward_ms: float

    @property
    def total_ms(self) -> float:
        """Both."""
        return self.forward_ms + self.backward_ms


@dataclass(frozen=True)
class PartTable:
    """Parts, the dearest first; they add up to the step.

    Attributes:
        parts: every one that took time.
        step_ms: of a step.
        steps: that were recorded.
        on_gpu: times are of kernels, and what is left over is a GPU without work.
    """

    parts: tuple[PartTime, ...]
    step_ms: float
    steps: int
    on_gpu: bool

    def lines(self, count: int | None = None) -> list[str]:
        """The table as text, of the first `count` parts."""
        shown = self.parts[:count]
        width = max(len(part.name) for part in shown)
        device = "GPU" if self.on_gpu else "CPU"
        lines = [
            f"Profile of {self.steps} steps, {self.step_ms:.1f} ms each; {device} ms of a part without the parts in it",
            f"{'part':<{width}}   forward  backward   share",
        ]
        for part in shown:
            share = 100 * part.total_ms / self.step_ms
            lines.append(f"{part.name:<{width}}  {part.forward_ms:8.2f}  {part.backward_ms:8.2f}  {share:4.1f} %")
        return lines


def measure_parts(events: Iterable[Any], steps: int, took_s: float, waited_s: float) -> PartTable:
    """Give every operator's own time to the part that called it.

    A node of the backward pass carries the number of the forward operator that made it, and so belongs to its part.

    Args:
        events: `profile.events()` of a run with `Profiler`'s ranges.
        steps: that they span.
        took_s: of these steps together.
        waited_s: of it, waiting for data.
    """
    operators = [event for event in events if event.device_type.name == "CPU" and not event.is_async]
    on_gpu = any(event.kernels for event in operators)
    owners = _Owners(operators)
    forward_us: dict[str, float] = defaultdict(float)
    backward_us: dict[str, float] = defaultdict(float)
    for event in operators:
        part, is_backward = owners.of(event)
        if part is not None:
            own_us = _kernel_us(event) if on_gpu else event.self_cpu_time_total
            (backward_us if is_backward else forward_us)[part] += own_us
    scale = 1e-3 / steps
    parts = [
        PartTime(name, forward_us[name] * scale, backward_us[name] * scale)
        for name in dict.fromkeys([*forward_us, *backward_us])
    ]
    step_ms = 1e3 * took_s / steps
    parts.append(PartTime(WAIT, 1e3 * waited_s / steps, 0.0))
    parts.append(PartTime(REST, max(0.0, step_ms - sum(part.total_ms for part in parts)), 0.0))
    parts.sort(key=lambda part: -part.total_ms)
    return PartTable(tuple(part for part in parts if part.total_ms > 0), step_ms, steps, on_gpu)


def _kernel_us(event: Any) -> float:  # noqa: ANN401 - torch's FunctionEvent
    """Of the kernels that an operator launched; the shadow of a range on the GPU is none."""
    is_range = event.name.startswith(PART) or event.name in (FORWARD, BACKWARD, UPDATE)
    return 0.0 if is_range else sum(kernel.duration for kernel in event.kernels)


class _Owners:
    """Which part an event belongs to."""

    def __init__(self, operators: list[Any]) -> None:
        self._known: dict[int, tuple[str | None, bool]] = {}  # by identity: operators and launches share numbers
        # Several operators may carry a number, the last one to begin is the one that made the node.
        self._makers: dict[tuple[int, int], Any] = {}
        for event in sorted(operators, key=lambda event: event.time_range.start):
            if event.sequence_nr >= 0 and not _in_node(event):
                self._makers[event.sequence_nr, event.thread] = event

    def of(self, event: Any) -> tuple[str | None, bool]:  # noqa: ANN401 - torch's FunctionEvent
        """Name of the part, None outside the ranges, and whether it is the part's backward pass."""
        known = self._known.get(id(event))
        if known is None:
            known = self._known[id(event)] = self._find(event)
        return known

    def _find(self, event: Any) -> tuple[str | None, bool]:  # noqa: ANN401
        name: str = event.name
        if name.startswith(_NODE):
            maker = self._makers.get((event.sequence_nr, event.fwd_thread))
            part = self.of(maker)[0] if maker is not None else None
            return part or f"({BACKWARD}, no part)", True
        if name.startswith(PART):
            inside = event.cpu_parent is not None and self.of(event.cpu_parent)[1]
            return name.removeprefix(PART), inside  # inside backward: recomputed
        if name == FORWARD:
            return f"({FORWARD}, no part)", False
        if name == BACKWARD:
            return f"({BACKWARD}, no part)", True
        if name == UPDATE:
            return UPDATE, False
        return (None, False) if event.cpu_parent is None else self.of(event.cpu_parent)


def _in_node(event: Any) -> bool:  # noqa: ANN401
    """Whether it is of the backward pass, the node itself included."""
    while event is not None:
        if event.name.startswith(_NODE):
            return True
        event = event.cpu_parent
    return False
