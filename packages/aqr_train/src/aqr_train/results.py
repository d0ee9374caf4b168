"""The folder that a prediction fills: the same detections as a results file of nuScenes and as columns."""

from __future__ import annotations

from pathlib import Path

from aqr_core.errors import ConfigError
from aqr_eval import Submission, write_submission

RESULTS, COLUMNS = "submission.json", "submission.safetensors"
LATENCY, METRICS = "latency.json", "metrics.json"
_OF_FILES = (".json", ".safetensors")


def check_out(out: Path) -> None:
    """Refuse what cannot become the folder, before anything is computed.

    Raises:
        ConfigError: it is a file, or is called like one.
    """
    if out.is_file():
        raise ConfigError(f"--out {out} is a file; name the folder to write {RESULTS} in.")
    if out.suffix in _OF_FILES:
        raise ConfigError(f"--out {out} is called like a file; name the folder to write {RESULTS} in.")


def write_results(folder: Path, submission: Submission) -> None:
    """Both files. JSON is what the devkit and the evaluation server read, columns are read tens of times as fast."""
    for name in (RESULTS, COLUMNS):
        write_submission(folder / name, submission)
