"""The same run on more GPUs: memory, bytes and the time they take at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import estimate_states
from aqr_train.estimate.traffic import estimate_traffic, sent_per_rank

GPUS_PER_NODE = 8
GOAL = 0.95  # of the speed without exchange


@dataclass(frozen=True)
class Bandwidth:
    """Bytes per second that one GPU sends: within a node, and between nodes."""

    intra: float = 25e9
    inter: float = 12.5e9

    def of(self, world_size: int) -> float:
        """Of the slowest link of a ring over all processes."""
        return self.intra if world_size <= GPUS_PER_NODE else self.inter


@dataclass(frozen=True)
class Projection:
    """One row: a number of GPUs.

    Attributes:
        world_size: GPUs.
        device: bytes of states on each, see `StateMemory`, with activations.
        sent: bytes that each sends per update.
        exchange_s: least time for that, at the stated bandwidth and without latency.
        compute_s: forward and backward passes of an update that take this long reach 95 % of the speed without
            exchange, even if the two never overlap.
    """

    world_size: int
    device: int
    sent: int
    exchange_s: float

    @property
    def compute_s(self) -> float:
        """See the class."""
        return self.exchange_s * GOAL / (1 - GOAL)

    def efficiency(self, compute_s: float) -> float:
        """Least share of the speed without exchange, where an update computes this long."""
        return compute_s / (compute_s + self.exchange_s)


def project(
    size: ModelSize,
    sharding: Sharding,
    activations: int,
    *,
    accumulate: int,
    bandwidth: Bandwidth,
    world_sizes: Sequence[int] = (8, 64, 512),
) -> tuple[Projection, ...]:
    """Rows for these numbers of GPUs; one process becomes DDP."""
    if sharding.kind == "one process":
        sharding = replace(sharding, kind="DDP")
    rows = []
    for world_size in world_sizes:
        sent = sent_per_rank(estimate_traffic(size, world_size, sharding, accumulate=accumulate), world_size)
        device = estimate_states(size, world_size, sharding, accumulate=accumulate).device + activations
        rows.append(Projection(world_size, device, sent, sent / bandwidth.of(world_size)))
    return tuple(rows)
