"""Which samples make up which batch, on which process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from aqr_core.errors import AqrError
from aqr_core.structures import Batch, Sample
from aqr_train.stopping import obey_trainer_alone, starting_loader


class SampleSource(Protocol):
    """What the trainer asks of a dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def set_epoch(self, epoch: int) -> None:
        """Select the augmentations of this pass."""


Collate = Callable[[list[Sample]], Batch]


class EpochBatches(Sampler[list[int]]):
    """The micro-batches of one pass that fall to one process, `accumulate` of them per step.

    The order of samples follows from (seed, epoch) alone. The samples of step s are a slice of it; its a-th part is
    the a-th micro-batch of all processes, of which process r takes the r-th part. So two processes with batch b see
    together what one sees with batch 2b, or with two micro-batches of b. The incomplete last step of a pass is dropped;
    a set smaller than one step is repeated to fill it.

    Args:
        length: samples in the set.
        batch_size: samples per process and micro-batch.
        seed, epoch: choose the order.
        rank, world_size: this process among all.
        accumulate: micro-batches per step.
        start: steps of this pass to leave out, when a run resumes inside it.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        start: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.rank = rank
        self.global_size = batch_size * world_size
        steps = steps_per_epoch(length, self.global_size * accumulate)
        self.micro_batches = range(start * accumulate, steps * accumulate)
        order = np.random.default_rng((seed, epoch)).permutation(length)
        self.order = np.resize(order, steps * accumulate * self.global_size)

    def __len__(self) -> int:
        return len(self.micro_batches)

    def __iter__(self) -> Iterator[list[int]]:
        for number in self.micro_batches:
            first = number * self.global_size + self.rank * self.batch_size
            yield self.order[first : first + self.batch_size].tolist()


def steps_per_epoch(length: int, samples_per_step: int) -> int:
    """Updates in one pass; at least 1."""
    return max(1, length // samples_per_step)


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
        worker_init_fn=obey_trainer_alone,
        # Its own generator: a loader must not draw from the global one, or a run that resumes inside a pass would
        # see other dropout masks than the run it continues.
        generator=torch.Generator().manual_seed(0),
    )
    with starting_loader():
        loaded = iter(loader)
    for batch in loaded:
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
