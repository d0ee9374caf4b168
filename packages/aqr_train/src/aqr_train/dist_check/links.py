"""What the links between processes carry, and how fast each process computes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

SIZES_MIB = (1, 16, 128)
PRODUCT = {"cuda": 4096, "cpu": 1024}  # rows of the matrices that are multiplied
_MIB = 2**20
_ROUNDS = 5
_BARRIERS = 20


@dataclass(frozen=True)
class Transfer:
    """An all-reduce of float32 numbers.

    Attributes:
        mib: of one process's numbers.
        seconds: median of the rounds.
        wrong: numbers of the result that are not the sum.
    """

    mib: int
    seconds: float
    wrong: int

    @property
    def algorithm_gb_s(self) -> float:
        """GB of numbers that are summed per second."""
        return self.mib * _MIB / self.seconds / 1e9

    def bus_gb_s(self, processes: int) -> float:
        """GB per second that leave each process where they go round in a ring: 2 (N - 1) / N of the numbers."""
        return self.algorithm_gb_s * 2 * (processes - 1) / processes


def measure_transfer(accelerator: Accelerator, mib: int) -> Transfer:
    """Sum known numbers over all processes, then time sums of the same size; collective."""
    rank, processes, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    # Below 16 each, so that the sum of a thousand ranks is exact in float32.
    base = torch.arange(mib * _MIB // 4, dtype=torch.int32, device=device).remainder_(16).float()
    numbers = base * (rank + 1)
    dist.all_reduce(numbers)
    wrong = int((numbers != base * (processes * (processes + 1) // 2)).sum())
    numbers.zero_()

    def reduce() -> None:
        dist.all_reduce(numbers)

    times = []
    for _ in range(_ROUNDS):
        accelerator.wait_for_everyone()
        times.append(_seconds(reduce, device))
    return Transfer(mib, statistics.median(times), wrong)


def measure_barrier(accelerator: Accelerator) -> float:
    """Seconds that a barrier takes once everybody is there: median of rounds; collective."""
    accelerator.wait_for_everyone()
    return statistics.median(_seconds(accelerator.wait_for_everyone, accelerator.device) for _ in range(_BARRIERS))


def measure_compute(device: torch.device) -> float:
    """Seconds of a float32 matrix product, the same on every rank: median of rounds, all ranks at it at once."""
    size = PRODUCT[device.type]
    matrix = torch.ones(size, size, device=device)

    def multiply() -> Tensor:
        return matrix @ matrix

    multiply()
    return statistics.median(_seconds(multiply, device) for _ in range(_ROUNDS))


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
