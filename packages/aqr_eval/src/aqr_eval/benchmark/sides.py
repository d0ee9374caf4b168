"""The evaluations that are timed, each in a process of its own, all on the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_eval.nuscenes.errors import AqrError

_DEVKIT_SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "devkit_side.py"
_SCORED_ALIKE = 1e-9


@dataclass(frozen=True)
class Run:
    """One evaluation.

    Attributes:
        seconds: step -> wall time.
        peak_bytes: of the process.
        scores: mAP and NDS.
    """

    seconds: dict[str, float]
    peak_bytes: int
    scores: dict[str, float]

    @property
    def from_boxes(self) -> float:
        """Seconds from boxes in memory to NDS: filters, matching, curves."""
        return sum(self.seconds.get(step, 0.0) for step in ("filter", "accumulate", "evaluate"))

    @property
    def from_file(self) -> float:
        """Seconds from the submission's file to NDS."""
        return self.from_boxes + self.seconds["load_prediction"]


def run_ours(truth: Path, submission: Path) -> Run:
    """Our evaluation."""
    return _run([sys.executable, "-m", "aqr_eval.benchmark.ours", str(truth), str(submission)])


def run_devkit(truth: Path, submission: Path, python: str) -> Run:
    """The devkit's, by an interpreter that has both packages.

    Raises:
        AqrError: no checkout of the repository, or the devkit is not installed there.
    """
    if not _DEVKIT_SCRIPT.is_file():
        raise AqrError(f"{_DEVKIT_SCRIPT} is absent; compare with the devkit from a checkout of the repository.")
    return _run([python, str(_DEVKIT_SCRIPT), str(truth), str(submission)])


def require_equal(ours: Run, theirs: Run) -> None:
    """A fast wrong number is worth nothing."""
    for name, value in theirs.scores.items():
        if not abs(value - ours.scores[name]) <= _SCORED_ALIKE:
            raise AqrError(f"{name} is {ours.scores[name]!r} here and {value!r} by the devkit: report this as a bug.")


def _run(command: list[str]) -> Run:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AqrError(f"{' '.join(command)} failed ({_last_line(done.stderr)}): `make setup` installs what it needs.")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Run(result.pop("seconds"), result.pop("peak_bytes"), result)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no message"
