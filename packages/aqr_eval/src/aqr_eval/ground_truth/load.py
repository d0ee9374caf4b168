"""Ground truth by its source: tables, a prepared file, or infos."""

from __future__ import annotations

from pathlib import Path

from aqr_eval.columns_file import is_columns_file
from aqr_eval.ground_truth.file import read_ground_truth
from aqr_eval.ground_truth.infos import ground_truth_from_infos
from aqr_eval.ground_truth.tables import ground_truth_from_tables
from aqr_eval.ground_truth.truth import GroundTruth
from aqr_eval.nuscenes.errors import DataError


def load_ground_truth(
    source: str | Path, version: str | None = None, split: str | None = None, *, cameras: bool = False
) -> GroundTruth:
    """Reads the ground truth of a split.

    Args:
        source: the dataroot that holds the tables of `version`, or a file: a prepared ground truth (see
            `write_ground_truth`) or infos. The content of a file decides, not its name.
        version: e.g. "v1.0-trainval"; for tables alone.
        split: official or custom split; for tables alone.
        cameras: with tables, also read where the cameras look, which takes longer; files have it or not.

    Raises:
        DataError: tables or files are missing or broken, the split is unknown, none of its scenes is present, or there
            are no annotations.
    """
    path = Path(source)
    if path.is_file():
        if version or split:
            raise DataError(f"{path} is a file, which says itself what it holds: leave out version and split.")
        return read_ground_truth(path) if is_columns_file(path) else ground_truth_from_infos(path)
    if not (version and split):
        reason = "is a dataroot, which needs version and split" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {reason}: give a dataroot with version and split, or a prepared file.")
    return ground_truth_from_tables(path, version, split, cameras=cameras)
