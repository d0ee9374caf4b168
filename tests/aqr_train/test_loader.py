"""Which samples make up which batch."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from multiprocessing import Event, Process, active_children
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.data import collate
from aqr_core.errors import DataError
from aqr_core.registry import DATASETS
from aqr_train.loader import EpochBatches, load_batches, steps_per_epoch
from aqr_train.stopping import StopSignal, obey_trainer_alone, starting_loader


@given(length=st.integers(1, 60), batch=st.integers(1, 4), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_two_ranks_with_b_see_the_batches_of_one_with_2b(length: int, batch: int, seed: int, epoch: int) -> None:
    one = list(EpochBatches(length, 2 * batch, seed=seed, epoch=epoch))
    ranks = [EpochBatches(length, batch, seed=seed, epoch=epoch, rank=rank, world_size=2) for rank in (0, 1)]
    assert one == [left + right for left, right in zip(*ranks, strict=True)]


def test_a_pass_uses_each_sample_once_and_drops_the_incomplete_batch() -> None:
    batches = list(EpochBatches(10, 4, seed=0, epoch=0))
    seen = [index for batch in batches for index in batch]
    assert len(batches) == 2 and len(set(seen)) == 8


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert list(EpochBatches(20, 2, seed=1, epoch=2)) == list(EpochBatches(20, 2, seed=1, epoch=2))
    assert list(EpochBatches(20, 2, seed=1, epoch=2)) != list(EpochBatches(20, 2, seed=1, epoch=3))


def test_start_leaves_out_what_a_resumed_run_has_seen() -> None:
    whole = list(EpochBatches(20, 2, seed=1, epoch=0))
    rest = EpochBatches(20, 2, seed=1, epoch=0, start=3)
    assert list(rest) == whole[3:] and len(rest) == 7


def test_a_set_smaller_than_a_batch_is_repeated() -> None:
    assert list(EpochBatches(1, 2, seed=0, epoch=0)) == [[0, 0]]
    assert steps_per_epoch(1, 16) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_dataset_arrives_as_it_was_raised(workers: int) -> None:
    dataset = DATASETS.get("ToyDataset")(length=4, broken=2)
    with pytest.raises(DataError, match=r"^sample 2 is truncated; restore the file\.$"):
        list(load_batches(dataset, [[0], [2]], collate, workers))


def test_loading_draws_nothing_from_the_global_generator() -> None:
    dataset = DATASETS.get("ToyDataset")(length=4)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches = list(load_batches(dataset, [[0, 1], [2, 3]], collate, 0))
    assert [batch.tokens for batch in batches] == [["token0", "token1"], ["token2", "token3"]]
    assert torch.equal(before, torch.get_rng_state())


def test_micro_batches_of_a_step_are_the_parts_of_one_larger_batch() -> None:
    together = list(EpochBatches(24, 4, seed=1, epoch=2))
    parts = list(EpochBatches(24, 2, seed=1, epoch=2, accumulate=2))
    assert [first + second for first, second in zip(parts[::2], parts[1::2], strict=True)] == together
    assert list(EpochBatches(24, 2, seed=1, epoch=2, accumulate=2, start=4)) == parts[8:]


def test_loader_processes_outlive_a_sigterm_that_is_not_the_trainers() -> None:
    """A launcher sends it to the whole process group; the step that is running still needs its batches."""
    before = set(active_children())
    batches = load_batches(DATASETS.get("ToyDataset")(length=40), [[index] for index in range(40)], collate, 2)
    assert next(batches).tokens == ["token0"]
    workers = set(active_children()) - before
    subprocess.run(["kill", "-TERM", *(str(worker.pid) for worker in workers)], check=True)
    assert len(workers) == 2 and len(list(batches)) == 39


def test_loader_processes_obey_the_sigterm_of_the_trainer() -> None:
    ready = Event()
    worker = Process(target=_wait, args=(ready,), daemon=True)
    worker.start()
    assert ready.wait(10)
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    worker.join(0.5)
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0


def test_sigterm_waits_while_loader_processes_start() -> None:
    """They must not meet it before they know what to do with it."""
    with StopSignal() as stop:
        with starting_loader():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert not stop.received
        assert stop.received


def _wait(ready: Any) -> None:
    obey_trainer_alone(0)
    ready.set()
    time.sleep(60)
