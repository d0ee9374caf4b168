"""Memory and traffic by formula, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aqr_core.errors import ConfigError
from aqr_train.estimate.projection import Bandwidth, project
from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import StateMemory, estimate_states
from aqr_train.estimate.traffic import (
    ALL_GATHER,
    ALL_REDUCE,
    REDUCE_SCATTER,
    Collective,
    estimate_traffic,
    sent_per_rank,
)

# 800 numbers train (3200 bytes), 1200 are frozen (8000 bytes together), on 4 processes (2000 and 800 bytes each).
SIZE = ModelSize(trainable=800, frozen=1200, buffers=16, small=100, regathered=500)
ZERO_BUCKET = 10  # numbers


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("one process", StateMemory(8000, 0, 0, 3200, 6400, 0, 16)),
        ("DDP", StateMemory(8000, 3200, 0, 3200, 6400, 0, 16)),
        ("ZeRO-1", StateMemory(8000, 800, 0, 3200, 1600, 40, 16)),
        ("ZeRO-2", StateMemory(8000, 800, 0, 800, 1600, 40, 16)),
        ("ZeRO-3", StateMemory(2000 + 400, 800, 8000 - 400, 800, 1600, 40, 16, host=8016)),
        ("FSDP2", StateMemory(2000, 0, 8000, 800, 1600, 0, 16, host=8016)),
    ],
)
def test_states_of_every_engine(kind: str, expected: StateMemory) -> None:
    assert estimate_states(SIZE, 4, Sharding(kind, bucket=ZERO_BUCKET)) == expected


def test_offload_moves_the_optimiser_to_the_host() -> None:
    states = estimate_states(SIZE, 4, Sharding("ZeRO-2", offload=True, bucket=ZERO_BUCKET))
    assert (states.copies, states.moments, states.gradients) == (0, 0, 0)
    assert states.device == 8000 + 40 + 16
    assert states.host == 5 * 800  # weights, two moments, gradients, and a copy on the way back


def test_fsdp_keeps_whole_gradients_while_it_accumulates() -> None:
    assert estimate_states(SIZE, 4, Sharding("FSDP2"), accumulate=2).gradients == 3200


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("DDP", 2 * 0.75 * 3200 + 0.75 * 16),
        ("ZeRO-1", 2 * 0.75 * 3200 + 0.75 * 3200),
        ("ZeRO-2", 2 * 2 * 0.75 * 3200 + 0.75 * 3200),
        ("ZeRO-3", 0.75 * (2 * 7600 + 400) + 2 * 0.75 * 3200),
        ("FSDP2", 2 * 0.75 * (8000 + 2000) + 0.75 * 3200),
    ],
)
def test_bytes_of_an_update_of_two_batches(kind: str, sent: float) -> None:
    assert sent_per_rank(estimate_traffic(SIZE, 4, Sharding(kind), accumulate=2), 4) == sent


def test_weights_given_up_after_the_forward_pass_are_gathered_again() -> None:
    once = estimate_traffic(SIZE, 4, Sharding("ZeRO-3"))
    again = estimate_traffic(SIZE, 4, Sharding("ZeRO-3", regather=True))
    assert sent_per_rank(again, 4) - sent_per_rank(once, 4) == 0.75 * 7600


def test_one_process_sends_nothing() -> None:
    assert estimate_traffic(SIZE, 1, Sharding("one process")) == ()


def test_ring_shares() -> None:
    assert Collective("x", ALL_REDUCE, 100).sent(2) == 100
    assert Collective("x", ALL_GATHER, 100).sent(4) == Collective("x", REDUCE_SCATTER, 100).sent(4) == 75


def test_projection_takes_the_slowest_link() -> None:
    rows = project(
        SIZE, Sharding("one process"), 100, accumulate=1, bandwidth=Bandwidth(1000, 500), world_sizes=(8, 16)
    )
    assert [row.sent for row in rows] == [5614, 6015]  # 7/8 and 15/16 of 2 * 3200 + 16
    assert [row.exchange_s for row in rows] == [5614 / 1000, 6015 / 500]
    assert rows[0].device == 8000 + 3200 + 3200 + 6400 + 16 + 100
    assert rows[0].efficiency(rows[0].compute_s) == pytest.approx(0.95)


class _Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 1), nn.Linear(5, 1), nn.Linear(7, 1)
        self.pts_bbox_head = nn.Linear(9, 1)
        self.first.requires_grad_(False)
        self.second.requires_grad_(False)
        self.register_buffer("grid", torch.zeros(2, dtype=torch.int64))


def test_size_of_a_model() -> None:
    # `third` (8) trains and is gathered again, and fetches `second` (6) ahead; the head is never given up.
    assert ModelSize.of(_Detector()) == ModelSize(trainable=18, frozen=10, buffers=16, small=28, regathered=14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"world_size": 2, "stage": 4}, "--zero is 4"),
        ({"world_size": 2, "stage": 2, "fsdp": True}, "--fsdp and --zero 2 exclude each other"),
        ({"world_size": 2, "stage": 0, "offload": True}, "--offload belongs to ZeRO"),
        ({"world_size": 1, "stage": 0, "fsdp": True}, "--gpus is 1"),
    ],
)
def test_combinations_that_do_not_exist(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sharding.chosen(**arguments)
