"""Plans of fork_server.py, and whether two runs are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aqr_train.checkpoints import BEST, FOLDER, latest_checkpoint

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One run of a plan, see fork_server.py."""

    work_dir: str
    options: Sequence[str] = ()
    resume: bool | str = True
    processes: int = 1
    moment: tuple[str, float] | None = None
    signal: str = "SIGKILL"
    to: Sequence[int] = (0,)
    largest_file: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    toy_score: bool = True


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    codes: list[int]
    step: int
    unfinished: list[str] = field(default_factory=list)
    text: str = ""


def carry_out(config: Path, runs: Sequence[Run]) -> list[Outcome]:
    """Do the runs one after the other; work dirs are names below the folder of the config."""
    folder = config.parent
    plan: dict[str, Any] = {"config": str(config), "runs": []}
    plan["runs"] = [{**asdict(run), "work_dir": str(folder / run.work_dir)} for run in runs]
    (folder / "plan.json").write_text(json.dumps(plan))
    results = folder / "outcomes.json"
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "fork_server.py"),
            str(HERE / "conftest.py"),
            str(folder / "plan.json"),
            str(results),
        ],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(**outcome) for outcome in json.loads(results.read_text())]


def traces(work_dir: Path) -> dict[str, Any]:
    """What must be equal in two runs that are the same: bytes of the last checkpoint, pointers, every logged value."""
    newest = latest_checkpoint(work_dir)
    assert newest is not None
    lines = [json.loads(line) for line in (work_dir / "scalars.jsonl").read_text().splitlines()]
    return {
        "files": (newest / "SHA256SUMS").read_text().splitlines(),
        "best": (work_dir / FOLDER / BEST).read_text() if (work_dir / FOLDER / BEST).is_file() else "",
        "kept": sorted(path.name for path in (work_dir / FOLDER).iterdir()),
        "scalars": [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines],
    }
