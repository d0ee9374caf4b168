"""Bytes that a training step sends, collective by collective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqr_train.estimate.sharding import FLOAT, ModelSize, Sharding

ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, BROADCAST = "all-reduce", "all-gather", "reduce-scatter", "broadcast"
# Collectives below this many bytes are flags, counts and norms: they cost latency, not bandwidth.
SMALL = 1024


@dataclass(frozen=True)
class Collective:
    """One kind of exchange within a step.

    Attributes:
        what: is exchanged.
        kind: of collective.
        payload: bytes of the whole tensor, summed over the calls of a step.
    """

    what: str
    kind: str
    payload: int

    def sent(self, world_size: int) -> float:
        """Bytes that each process sends in a ring, the mean over the processes for a broadcast.

        Source: Thakur, Rabenseifner, Gropp, Optimization of Collective Communication Operations in MPICH (2005).
        """
        share = (world_size - 1) / world_size * self.payload
        return 2 * share if self.kind == ALL_REDUCE else share


def estimate_traffic(
    size: ModelSize, world_size: int, sharding: Sharding, *, accumulate: int = 1
) -> tuple[Collective, ...]:
    """The exchanges of one update of `accumulate` batches per process, but for those below `SMALL`."""
    whole, trained = FLOAT * size.parameters, FLOAT * size.trainable
    if world_size == 1:
        return ()
    if sharding.kind == "DDP":
        return (
            Collective("gradients", ALL_REDUCE, trained),
            # Only before the first batch of an update: DDP leaves it out between batches without exchange.
            Collective("statistics", BROADCAST, size.buffers),
        )
    if sharding.kind == "FSDP2":
        return (
            Collective("weights, forward", ALL_GATHER, accumulate * whole),
            Collective("weights, backward", ALL_GATHER, accumulate * FLOAT * size.regathered),
            Collective("gradients", REDUCE_SCATTER, trained),
        )
    if sharding.stage == 3:
        small = FLOAT * size.small
        again = accumulate * (whole - small) if sharding.regather else 0
        gather = [Collective("weights, forward", ALL_GATHER, accumulate * (whole - small))]
        gather += [Collective("small weights, after the update", ALL_GATHER, small)] if small else []
        gather += [Collective("weights, backward", ALL_GATHER, again)] if again else []
        return (*gather, Collective("gradients", REDUCE_SCATTER, accumulate * trained))
    # DeepSpeed all-reduces in stage 2 too (`use_multi_rank_bucket_allreduce`), after every batch.
    times = accumulate if sharding.stage == 2 else 1
    return (
        Collective("gradients", ALL_REDUCE, times * trained),
        Collective("weights", ALL_GATHER, trained),
    )


def sent_per_rank(collectives: Sequence[Collective], world_size: int) -> int:
    """Bytes that each process sends in a step."""
    return round(sum(collective.sent(world_size) for collective in collectives))
