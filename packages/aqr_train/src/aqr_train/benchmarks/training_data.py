"""How long a step waits for its batch, and how many workers the loader would need."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from aqr_core.data import collate
from aqr_train.benchmarks.aqr_sides import build_side
from aqr_train.benchmarks.loader_data import LoaderData
from aqr_train.benchmarks.loader_rounds import run_round
from aqr_train.benchmarks.model_runs import training_step
from aqr_train.benchmarks.turns import Spread
from aqr_train.loader import EpochBatches, load_batches
from aqr_train.settings import TrainSettings, read_section


@dataclass(frozen=True)
class DataWait:
    """What the loader did while the model trained.

    Attributes:
        waits: seconds that each step waited, the first one, for which the workers start, left out.
        steps: seconds that each of them computed.
        first_wait_s: of the first step of a pass.
        sample_s: CPU seconds of one sample, alone on a core.
        batch_size, workers: of the loader.
    """

    waits: tuple[float, ...]
    steps: tuple[float, ...]
    first_wait_s: float
    sample_s: Spread
    batch_size: int
    workers: int

    @property
    def share(self) -> float:
        """Of the time, spent waiting."""
        return sum(self.waits) / (sum(self.waits) + sum(self.steps))

    @property
    def step_s(self) -> float:
        """Median."""
        return Spread.of(self.steps).median

    def cores_for(self, step_s: float) -> float:
        """Cores that make samples as fast as steps of this length use them."""
        return self.batch_size / step_s * self.sample_s.median

    def workers_for(self, step_s: float) -> int:
        """Workers, each with a core of its own."""
        return max(1, math.ceil(self.cores_for(step_s)))


def measure_wait(
    config: Mapping[str, Any],
    data: LoaderData,
    device: torch.device,
    *,
    batch_size: int,
    workers: int,
    steps: int,
    rounds: int,
    precision: str,
) -> DataWait:
    """`steps` training steps behind a first one, fed by the config's loader; then `rounds` of the samples alone."""
    model, optimizer = build_side(config, device)
    grad_clip = read_section(TrainSettings, config, "train").grad_clip
    waits, computed = [], []
    batches = _endless(data, batch_size, workers, on_cuda=device.type == "cuda")
    for _ in range(steps + 1):
        started = time.perf_counter()
        batch = next(batches).to(device)
        waits.append(time.perf_counter() - started)
        training_step(model, optimizer, batch, precision, grad_clip)(lambda part: None)
        if device.type == "cuda":
            torch.cuda.synchronize()
        computed.append(time.perf_counter() - started - waits[-1])
    batches.close()
    with _one_thread():
        rounds_made = [run_round(data, epoch) for epoch in range(rounds + 1)][1:]
    sample_s = Spread.of([made.total / made.samples for made in rounds_made])
    return DataWait(tuple(waits[1:]), tuple(computed[1:]), waits[0], sample_s, batch_size, workers)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _endless(data: LoaderData, batch_size: int, workers: int, *, on_cuda: bool) -> Generator[Any, None, None]:
    for epoch in itertools.count():
        data.dataset.set_epoch(epoch)
        order = EpochBatches(len(data.dataset), batch_size, seed=0, epoch=epoch)
        yield from load_batches(data.dataset, order, collate, workers, pin_memory=on_cuda)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
