"""Two real processes that add up, ranks that are silent, and what must be alike on all ranks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.distributed import HashStore

from aqr_train.cli import main
from aqr_train.dist_check.links import Transfer
from aqr_train.dist_check.ranks import Rank, find_faults
from aqr_train.dist_check.roll_call import RollCall, Unanswered

RANK = Rank(0, 0, "north", 17, "cuda:0 H200", "GPU-a", 139.0, "nccl 2.27", {"torch": "2.13.0", "NCCL": "2.27"})

# The first argument says what is wrong with rank 1.
CHILD = """
import os, sys, time
from aqr_train.cli import main
from aqr_train.dist_check import check
from aqr_train.dist_check.links import Transfer

if os.environ["RANK"] == "1":
    if sys.argv[1] == "absent":
        time.sleep(60)
    if sys.argv[1] == "hangs":
        check.measure_transfer = lambda accelerator, mib: time.sleep(60)
    if sys.argv[1] == "miscounts":
        measure = check.measure_transfer
        check.measure_transfer = lambda *arguments: Transfer(measure(*arguments).mib, 1.0, wrong=3)
sys.exit(main(["dist-check", "--timeout", sys.argv[2]]))
"""


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the check on two CPU processes, rank 1 with a fault."""

    def run(fault: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "child.py"
        script.write_text(CHILD)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*command, fault, str(timeout_s)], env=environment, capture_output=True, text=True, timeout=100
        )

    return run


def test_one_process_has_nothing_to_check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert main(["dist-check"]) == 0
    out = capsys.readouterr().out
    assert "asked  1 process, one process, cpu, fp32" in out
    assert "one process: nothing to check between ranks" in out


def test_what_the_trainer_refuses_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert main(["dist-check", "--precision", "fp16"]) == 2
    assert "train.precision=fp16 needs a GPU" in capsys.readouterr().err
    assert main(["dist-check", "--timeout", "0"]) == 2
    assert "--timeout is 0; give seconds above 0." in capsys.readouterr().err


def test_two_processes_add_up(check: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = check("nothing")
    assert done.returncode == 0, done.stderr
    assert "runs   2 processes, DDP, cpu, gloo" in done.stdout
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    rows = [line for line in lines if line[0]]  # the long name of a processor goes on in a second line
    assert [row[:2] for row in rows[:2]] == [["0", "0"], ["1", "1"]] and rows[0][3] != rows[1][3]
    for row, size in zip(rows[2:], ("1 MiB", "16 MiB", "128 MiB"), strict=True):
        assert row[0] == size and row[4] == "right"
        assert row[2] == row[3]  # 2 (N - 1) / N is 1 for two
        assert float(row[1]) > 0
    assert done.stdout.endswith("2 processes add up.\n")


def test_wrong_sums_are_a_fault_of_their_rank(check: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = check("miscounts")
    assert done.returncode == 1
    assert "got 3 wrong numbers from an all-reduce of 16 MiB" in done.stdout and "fault: Rank 1 " in done.stdout
    assert "add up" not in done.stdout


@pytest.mark.parametrize(
    ("fault", "timeout_s", "sentence"),
    [
        ("absent", 3, "error: Rank 1 (node 0) did not answer 'roll call' within 3 s; look there for what went wrong"),
        ("hangs", 6, "error: 'all-reduce of 1 MiB' takes more than 6 s with every rank in it"),
    ],
)
def test_a_silent_rank_ends_the_check(
    fault: str, timeout_s: float, sentence: str, check: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = check(fault, timeout_s)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1 and sentence in done.stderr


def test_the_lowest_rank_that_answers_names_those_that_do_not() -> None:
    store = HashStore()
    told: dict[int, Unanswered] = {}

    def call(rank: int) -> None:
        roll = RollCall(store, rank, 8, per_node=2, timeout_s=1)
        with pytest.raises(Unanswered) as error:
            roll.exchange("roll call", rank)
        told[rank] = error.value

    threads = [threading.Thread(target=call, args=(rank,)) for rank in (1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told[1].tell and not told[5].tell
    assert str(told[1]).startswith(
        "Rank 0 (node 0), rank 2 (node 1), rank 3 (node 1), rank 4 (node 2), 2 more did not answer 'roll call' within"
    )


def test_a_rank_that_does_not_come_to_a_collective_is_named() -> None:
    ended: list[Unanswered] = []
    done = threading.Event()

    def end(error: Unanswered) -> None:
        ended.append(error)
        done.set()

    roll = RollCall(HashStore(), 0, 2, per_node=1, timeout_s=0.1, end=end)
    with roll.timed("barrier"):
        assert done.wait(10)
    assert str(ended[0]).startswith("Rank 1 (node 1) did not come to 'barrier' within 0.1 s;") and ended[0].tell


def test_bandwidth_by_hand() -> None:
    transfer = Transfer(mib=1000, seconds=0.5, wrong=0)
    assert transfer.algorithm_gb_s == pytest.approx(2.097152)  # 1000 MiB are 1.048576 GB
    assert transfer.bus_gb_s(8) == pytest.approx(2.097152 * 1.75)


def test_ranks_that_differ_or_share_a_gpu_are_faults() -> None:
    other = replace(RANK, rank=1, local_rank=1, unit="GPU-b")
    assert find_faults([RANK, other]) == []
    assert find_faults([RANK, replace(other, unit="GPU-a")]) == [
        "Ranks 0 and 1 share one GPU of north; start as many processes per node as it has GPUs (--num_processes)."
    ]
    older = replace(other, host="south", versions={"torch": "2.12.0", "NCCL": "2.27"})
    assert find_faults([RANK, older]) == [
        "torch is 2.13.0 on rank 0 (north) and 2.12.0 on rank 1 (south); install the same on every node."
    ]
    cpus = [replace(RANK, unit=""), replace(other, unit="")]
    assert find_faults(cpus) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_one_gpu_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dist-check"]) == 0
    assert "one process, cuda" in capsys.readouterr().out
