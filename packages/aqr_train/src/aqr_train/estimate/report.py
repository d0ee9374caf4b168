"""What `aqr estimate` says, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from aqr_train.benchmarks.tables import Grid
from aqr_train.estimate.activations import Activations
from aqr_train.estimate.projection import Projection
from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import StateMemory
from aqr_train.estimate.traffic import Collective, sent_per_rank

MIB = 1024**2


@dataclass(frozen=True)
class Estimate:
    """Everything about one run.

    Attributes:
        config: its name and overrides.
        world_size, batch_size, accumulate, precision: of the run.
        size, sharding, states, traffic: see their modules.
        activations: None where they were not measured.
        projection: rows of more GPUs.
        compute_s: forward and backward passes of an update, None where nobody said.
    """

    config: str
    world_size: int
    batch_size: int
    accumulate: int
    precision: str
    size: ModelSize
    sharding: Sharding
    states: StateMemory
    traffic: tuple[Collective, ...]
    activations: Activations | None
    projection: tuple[Projection, ...]
    compute_s: float | None = None

    @property
    def kept(self) -> dict[str, int]:
        """Activations of a batch by part; empty where they were not measured."""
        return {} if self.activations is None else self.activations.of_batch(self.batch_size)

    def tables(self) -> Iterator[Grid]:
        """Memory, exchanges, more GPUs."""
        yield self._memory()
        yield self._exchanges()
        yield self._more_gpus()

    def record(self) -> dict[str, Any]:
        """For machines; bytes and seconds."""
        return {
            **asdict(self),
            "kept": self.kept,
            "device_bytes": self.states.device + sum(self.kept.values()),
            "sent_bytes": sent_per_rank(self.traffic, self.world_size),
        }

    def _memory(self) -> Grid:
        names = [item.name for item in fields(self.states) if item.name != "host"]
        rows = [(name, _mib(getattr(self.states, name))) for name in names if getattr(self.states, name)]
        rows += [(f"activations (CPU kernels): {part}", _mib(kept)) for part, kept in self.kept.items() if kept]
        rows.append(("device, together", _mib(self.states.device + sum(self.kept.values()))))
        rows.append(("host", _mib(self.states.host)))
        title = (
            f"Memory of each of {self.world_size} processes, {self.sharding.kind}, batch {self.batch_size}, "
            f"{self.precision}: {self.size.trainable:,} parameters train, {self.size.frozen:,} are frozen"
        )
        return Grid(title, ("", "MiB"), rows, ("",))

    def _exchanges(self) -> Grid:
        rows = [(c.what, c.kind, _mib(c.payload), _mib(c.sent(self.world_size))) for c in self.traffic]
        rows.append(("together", "", "", _mib(sent_per_rank(self.traffic, self.world_size))))
        title = f"Sent per update of {self.accumulate} x {self.batch_size} samples by each process"
        return Grid(title, ("what", "collective", "MiB whole", "MiB sent"), rows, ("what", "collective"))

    def _more_gpus(self) -> Grid:
        last = "computing for 95 %, s" if self.compute_s is None else f"efficiency at {self.compute_s:g} s"
        rows = [
            (
                str(row.world_size),
                _mib(row.device),
                _mib(row.sent),
                f"{1000 * row.exchange_s:.1f}",
                f"{row.compute_s:.2f}" if self.compute_s is None else f"{100 * row.efficiency(self.compute_s):.1f} %",
            )
            for row in self.projection
        ]
        return Grid("On more GPUs, at least", ("GPUs", "MiB each", "MiB sent", "exchange ms", last), rows)


def _mib(size: float) -> str:
    return f"{size / MIB:.1f}"
