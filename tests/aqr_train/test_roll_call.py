"""The check of processes that no launcher has started, as with `srun` or by hand: rank 0 keeps the store itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys


def _start(rank: int, port: int, timeout_s: float) -> subprocess.Popen[str]:
    group = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "aqr_train.dist_check", "--timeout", str(timeout_s)],
        env={**os.environ, **group, **place},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_ranks_meet_at_the_first() -> None:
    port = _free_port()
    ranks = [_start(rank, port, 60) for rank in (1, 0)]
    ends = [rank.communicate(timeout=100) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], ends
    assert ends[0][0] == "" and ends[1][0].endswith("2 processes add up.\n")


def test_a_rank_that_was_never_started_is_named() -> None:
    rank = _start(0, _free_port(), 2)
    _, err = rank.communicate(timeout=60)
    assert rank.returncode == 1 and "error: Rank 1 (node 0) did not answer 'roll call' within 2 s" in err


def test_a_first_rank_that_was_never_started_is_told_by_its_address() -> None:
    port = _free_port()
    rank = _start(1, port, 2)
    _, err = rank.communicate(timeout=60)
    assert rank.returncode == 1 and f"error: Rank 1 does not meet the others at 127.0.0.1:{port} within 2 s" in err
