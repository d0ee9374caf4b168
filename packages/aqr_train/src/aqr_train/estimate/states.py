"""Memory that a run holds whatever it looks at: weights, gradients, moments and the copies that engines make."""

from __future__ import annotations

from dataclasses import dataclass, fields

from aqr_train.estimate.sharding import FLOAT, ModelSize, Sharding

MOMENTS = 2  # AdamW: exp_avg and exp_avg_sq


@dataclass(frozen=True)
class StateMemory:
    """Bytes of one process, each at its most.

    Attributes:
        weights: parameters as the forward pass reads them, frozen ones included.
        copies: what an engine holds twice: DDP gradients, in its buckets; ZeRO weights, as the optimiser steps on them.
        gathered: ZeRO-3 and FSDP2: most weights put together at once, beside the own part of them.
        gradients: of the trainable parameters.
        moments: of the optimiser.
        buckets: room in which ZeRO collects gradients for the exchange.
        buffers: statistics and grids of the model.
        host: what lies in the memory of the host instead of the device's.
    """

    weights: int
    copies: int
    gathered: int
    gradients: int
    moments: int
    buckets: int
    buffers: int
    host: int = 0

    @property
    def lasting(self) -> int:
        """Held between updates, on device and host: neither gradients nor what is gathered or collected for them."""
        return self.weights + self.copies + self.moments + self.buffers + self.host

    @property
    def device(self) -> int:
        """All but `host`."""
        return sum(getattr(self, item.name) for item in fields(self) if item.name != "host")


def estimate_states(size: ModelSize, world_size: int, sharding: Sharding, *, accumulate: int = 1) -> StateMemory:
    """Formulas of docs/scaling.md, which leave out padding and what is smaller.

    ZeRO-1 and 2 pad each parameter group to a multiple of twice the processes, ZeRO-3 each parameter to one of the
    processes, FSDP2 the first dimension of each parameter.
    """
    whole, trained = FLOAT * size.parameters, FLOAT * size.trainable
    part, own = -(-whole // world_size), -(-trained // world_size)
    stage = sharding.stage
    replica = whole + size.buffers  # on the host, for validation and checkpoints
    if sharding.kind == "FSDP2":
        # Gradients are exchanged with the last batch of an update; until then they are whole.
        gradients = own if accumulate == 1 else trained
        return StateMemory(part, 0, whole, gradients, MOMENTS * own, 0, size.buffers, host=replica)
    if stage == 0:
        buckets = trained if sharding.kind == "DDP" else 0
        return StateMemory(whole, buckets, 0, trained, MOMENTS * trained, 0, size.buffers)
    gradients = trained if stage == 1 else own
    small = FLOAT * size.small
    moved = (1 + MOMENTS) * own + (own if stage == 3 else 2 * own)
    return StateMemory(
        weights=part + small if stage == 3 else whole,
        copies=0 if sharding.offload else own,
        gathered=whole - small if stage == 3 else 0,
        gradients=0 if sharding.offload and stage > 1 else gradients,
        moments=0 if sharding.offload else MOMENTS * own,
        buckets=FLOAT * sharding.bucket,
        buffers=size.buffers,
        host=(moved if sharding.offload else 0) + (replica if stage == 3 else 0),
    )
