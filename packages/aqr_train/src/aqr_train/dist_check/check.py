"""The check from end to end: roll call, start, ranks, sums, speeds."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict

from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

from aqr_train.dist_check.links import (
    PRODUCT,
    SIZES_MIB,
    Transfer,
    measure_barrier,
    measure_compute,
    measure_transfer,
)
from aqr_train.dist_check.ranks import Rank, describe_rank, find_faults
from aqr_train.dist_check.roll_call import RollCall, open_store
from aqr_train.processes import Scheme, engine_kind, start_accelerator
from aqr_train.settings import TrainSettings

_WIDTH = 100  # of tables in a file or pipe


def check_processes(precision: str, timeout_s: float) -> int:
    """Run the check; every process of the launch does. Returns the exit code.

    Args:
        precision: `train.precision` of the run to come.
        timeout_s: seconds that a rank may take for one call.

    Raises:
        ConfigError: the launcher asks for what cannot be had, see `start_accelerator`.
        Unanswered: a rank is silent.
    """
    asked = Scheme.asked()
    roll = _open_roll_call(asked.world_size, timeout_s)
    roll.exchange("roll call", None)
    with roll.timed("start"):
        accelerator = start_accelerator(TrainSettings(max_steps=1, precision=precision))
    console = Console(quiet=roll.rank != 0)
    if not console.is_terminal:
        console = Console(quiet=roll.rank != 0, width=_WIDTH)
    ranks = [Rank(**record) for record in roll.exchange("table of ranks", asdict(describe_rank(accelerator)))]
    console.print(f"asked  {_describe_asked(asked)}, {precision}", highlight=False)
    runs = f"{_count(accelerator.num_processes)}, {engine_kind(asked, accelerator)}, {accelerator.device.type}"
    console.print(f"runs   {runs}, {ranks[0].backend}\n", _rank_table(ranks), sep="\n", highlight=False)
    versions = ", ".join(f"{name} {number}" for name, number in ranks[0].versions.items() if number != "-")
    console.print(f"rank 0 has {versions}\n", highlight=False, soft_wrap=True)
    faults = find_faults(ranks)
    if roll.world_size == 1:
        console.print("one process: nothing to check between ranks", highlight=False)
    elif not faults:  # two ranks on one GPU would hang
        faults = _measure(accelerator, roll, console, ranks)
    for fault in faults:
        console.print(f"fault: {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
    accelerator.end_training()
    return int(bool(faults))


def _open_roll_call(world_size: int, timeout_s: float) -> RollCall:
    rank, per_node = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    return RollCall(open_store(world_size, timeout_s), rank, world_size, per_node=per_node, timeout_s=timeout_s)


def _measure(accelerator: Accelerator, roll: RollCall, console: Console, ranks: Sequence[Rank]) -> list[str]:
    """Print what the links carry; returns a sentence per rank that added wrongly."""
    faults = []
    table = Table("all-reduce", "ms", "algorithm GB/s", "bus GB/s", "sums", title="the slowest rank's median")
    for mib in SIZES_MIB:
        with roll.timed(f"all-reduce of {mib} MiB"):
            own = measure_transfer(accelerator, mib)
        results = [Transfer(**record) for record in roll.exchange(f"result of {mib} MiB", asdict(own))]
        slowest = max(results, key=lambda result: result.seconds)
        bad = {rank: result.wrong for rank, result in enumerate(results) if result.wrong}
        table.add_row(
            f"{mib} MiB",
            f"{1e3 * slowest.seconds:.2f}",
            f"{slowest.algorithm_gb_s:.2f}",
            f"{slowest.bus_gb_s(roll.world_size):.2f}",
            "wrong" if bad else "right",
        )
        faults += [
            f"Rank {rank} ({ranks[rank].host}) got {wrong} wrong numbers from an all-reduce of {mib} MiB; do not train "
            "over these links, update the driver and NCCL."
            for rank, wrong in bad.items()
        ]
    with roll.timed("barrier"):
        barrier = measure_barrier(accelerator)
    times = roll.exchange("matrix product", measure_compute(accelerator.device))
    rank, typical = times.index(max(times)), statistics.median(times)
    console.print(table)
    console.print(f"barrier {1e3 * barrier:.2f} ms", highlight=False)
    size = PRODUCT[accelerator.device.type]
    console.print(
        f"slowest to compute: rank {rank} ({ranks[rank].host}), {1e3 * times[rank]:.1f} ms for a product of "
        f"{size} x {size}, {times[rank] / typical:.2f} times the median",
        highlight=False,
        soft_wrap=True,
    )
    if not faults:
        console.print(f"{_count(roll.world_size)} add up.", highlight=False)
    return faults


def _rank_table(ranks: Sequence[Rank]) -> Table:
    table = Table("rank", "local", "host", "pid", "device", "memory", "backend")
    for rank in ranks:
        memory = f"{rank.memory_gib:.1f} GiB"
        table.add_row(str(rank.rank), str(rank.local_rank), rank.host, str(rank.pid), rank.device, memory, rank.backend)
    return table


def _describe_asked(asked: Scheme) -> str:
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "stage of the DeepSpeed file")
    plain = "DDP" if asked.world_size > 1 else "one process"
    kind = {"zero": f"ZeRO-{stage}", "fsdp2": "FSDP2", "plain": plain}[asked.kind]
    return f"{_count(asked.world_size)}, {kind}, {'cpu' if asked.on_cpu else 'cuda'}"


def _count(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"
