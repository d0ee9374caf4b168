"""What the Slurm script makes of a job, with stand-ins for Slurm and the launcher that write down their calls."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aqr_train.launchers import find_launcher

STAND_INS = {
    "scontrol": 'if [[ $1 == show ]]; then printf "node7\\nnode9\\n"; else echo "scontrol $*" >> "$CALLS"; fi',
    "srun": 'shift; for node in 0 1; do SLURM_NODEID=$node "$@" || exit $?; done',
    "accelerate": 'echo "$SRUN_CPUS_PER_TASK $*" >> "$CALLS"; [[ "$*" != *"-m aqr_train "* ]] || exit $STATUS',
}


def _submit(
    folder: Path, *arguments: str, status: int = 0, left_s: int = 3600, launcher: str = ""
) -> tuple[int, list[str]]:
    """Exit code of the script on two nodes of eight GPUs, and the calls that it made."""
    commands, calls = folder / "commands", folder / "calls"
    commands.mkdir()
    for name, body in STAND_INS.items():
        (commands / name).write_text(f"#!/bin/bash\n{body}\n")
        (commands / name).chmod(0o755)
    job = {
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NODELIST": "node[7,9]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_CPUS_PER_TASK": "64",
        "SLURM_JOB_END_TIME": str(int(time.time()) + left_s),
        **({"LAUNCHER": launcher} if launcher else {}),
    }
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(find_launcher("slurm")), *arguments],
        env={**os.environ, **job, "PATH": path, "CALLS": str(calls), "STATUS": str(status)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "usage" in done.stderr or calls.is_file(), done.stderr
    return done.returncode, calls.read_text().splitlines() if calls.is_file() else []


def test_every_node_checks_the_links_and_trains(tmp_path: Path) -> None:
    code, calls = _submit(tmp_path, "cmt_aqr_tiny", str(tmp_path / "run"), "--seed", "3", launcher="zero2")
    assert code == 0
    common = f"--config_file {find_launcher('zero2')} --num_machines 2 --num_processes 16 --main_process_ip node7"
    common += " --main_process_port 24567 -m"
    assert calls == [
        *(f"64 launch --machine_rank {node} {common} aqr_train.dist_check" for node in (0, 1)),
        *(
            f"64 launch --machine_rank {node} {common} aqr_train cmt_aqr_tiny --work-dir {tmp_path / 'run'} --seed 3"
            for node in (0, 1)
        ),
    ]


def test_a_run_that_was_told_to_save_goes_back_into_the_queue_and_is_resumed(tmp_path: Path) -> None:
    saved = tmp_path / "run" / "checkpoints"
    saved.mkdir(parents=True)
    (saved / "latest").write_text("step_0000004\n")
    code, calls = _submit(tmp_path, "cmt_aqr_tiny", str(tmp_path / "run"), status=1, left_s=100)
    assert code == 1 and calls[-1] == "scontrol requeue 1234567"
    assert calls[-2].endswith(f"--work-dir {tmp_path / 'run'} --resume")


def test_a_run_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    code, calls = _submit(tmp_path, "cmt_aqr_tiny", str(tmp_path / "run"), status=2)
    assert code == 2 and not any("requeue" in call for call in calls)


@pytest.mark.parametrize("arguments", [(), ("cmt_aqr_tiny",)])
def test_config_and_work_dir_are_needed(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code, calls = _submit(tmp_path, *arguments)
    assert code != 0 and calls == []
