"""Which samples make up which batch, on which process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from aqr_core.errors import AqrError
from aqr_core.structures import Batch, Sample


class SampleSource(Protocol):
    """What the trainer asks of a dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def set_epoch(self, epoch: int) -> None:
        """Select the augmentations of this pass."""


Collate = Callable[[list[Sample]], Batch]


class EpochBatches(Sampler[list[int]]):
    """The batches of one pass that fall to one process.

    The order of samples follows from (seed, epoch) alone. The global batch of step s is a slice of it and
    process r takes the r-th part of that slice, so two processes with batch b see together what one sees with
    batch 2b. The incomplete last batch of a pass is dropped; a set smaller than one global batch is repeated
    to fill it.

    Args:
        length: samples in the set.
        batch_size: samples per process.
        seed, epoch: choose the order.
        rank, world_size: this process among all.
        start: batches of this pass to leave out, when a run resumes inside it.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world_size: int = 1, start: int = 0
    ) -> None:
        self.batch_size = batch_size
        self.rank = rank
        self.start = start
        self.global_size = batch_size * world_size
        self.count = steps_per_epoch(length, batch_size, world_size)
        order = np.random.default_rng((seed, epoch)).permutation(length)
        self.order = np.resize(order, self.count * self.global_size)

    def __len__(self) -> int:
        return self.count - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.count):
            first = step * self.global_size + self.rank * self.batch_size
            yield self.order[first : first + self.batch_size].tolist()


def steps_per_epoch(length: int, batch_size: int, world_size: int) -> int:
    """Updates in one pass; at least 1."""
    return max(1, length // (batch_size * world_size))


def load_batches(
    dataset: SampleSource,
    batches: Sampler[list[int]] | Sequence[list[int]],
    collate: Collate,
    num_workers: int,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """The given batches of indices, loaded in this process or by workers.

    Raises:
        AqrError: as the dataset raised it; torch alone would bury its sentence in the traceback of a worker.
    """
    loader = DataLoader(
        _Guarded(dataset),
        batch_sampler=batches,
        collate_fn=_GuardedCollate(collate),
        num_workers=num_workers,
        pin_memory=pin_memory,
        # Its own generator: a loader must not draw from the global one, or a run that resumes inside a pass would
        # see other dropout masks than the run it continues.
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        if isinstance(batch, AqrError):
            raise batch
        yield batch


class _Guarded(Dataset[Any]):
    """Hands a user-facing error on as a value, which crosses from a worker unharmed."""

    def __init__(self, dataset: SampleSource) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> Sample | AqrError:
        try:
            return self._dataset[index]
        except AqrError as error:
            return error


class _GuardedCollate:
    def __init__(self, collate: Collate) -> None:
        self._collate = collate

    def __call__(self, samples: list[Any]) -> Batch | AqrError:
        try:
            return next((item for item in samples if isinstance(item, AqrError)), None) or self._collate(samples)
        except AqrError as error:
            return error
