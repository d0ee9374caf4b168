"""Ground truth by its source: a folder of tables, or a prepared file."""

from __future__ import annotations

from pathlib import Path

from aqr_eval.ground_truth.tables import ground_truth_from_tables
from aqr_eval.ground_truth.truth import GroundTruth


def load_ground_truth(dataroot: str | Path, version: str, split: str, *, cameras: bool = False) -> GroundTruth:
    """See `ground_truth_from_tables`."""
    return ground_truth_from_tables(dataroot, version, split, cameras=cameras)
