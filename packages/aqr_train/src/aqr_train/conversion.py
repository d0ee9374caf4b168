"""Weights of any origin -> a checkpoint folder of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aqr_core import __version__ as core_version
from aqr_core.checkpoint import LoadReport, match_weights, put_weights, read_weights_file, write_checkpoint
from aqr_core.checkpoint.checksums import sha256_of
from aqr_core.config import dump
from aqr_core.errors import CheckpointError, ConfigError
from aqr_core.models import build_detector
from aqr_train import __version__ as train_version
from aqr_train.checkpoints import find_checkpoint


def convert_weights(
    source: str | Path,
    config: Mapping[str, Any],
    folder: Path,
    *,
    partial: bool = False,
    assume_geometry: bool = False,
) -> tuple[LoadReport, bool]:
    """Write `folder` if every tensor of file and model has a place or a reason to have none.

    Args:
        source: see `find_checkpoint`.
        config: resolved; its model gives names, shapes, dtypes and geometry.
        folder: must not exist.
        partial: write also what does not fill the model.
        assume_geometry: see `load_weights`.

    Returns:
        the report, and whether the folder was written.

    Raises:
        CheckpointError: unreadable, of another model or geometry, or `folder` exists.
        ConfigError: no model in the config.
    """
    if folder.exists():
        raise CheckpointError(f"--out {folder} exists; name a new folder.")
    if "model" not in config:
        raise ConfigError("The config has no 'model' section; name the config of a model.")
    file = read_weights_file(find_checkpoint(source))
    model: nn.Module = build_detector(config["model"])
    match = match_weights(model, file, assume_geometry=assume_geometry)
    report = match.report
    if report.unexplained() or (report.absent and not partial):
        return report, False
    put_weights(model, match.tensors)  # in the model's dtypes
    state = model.state_dict()
    meta = {
        "classes": list(getattr(model.pts_bbox_head, "class_names", None) or ()),
        "source": {"name": file.path.name, "sha256": sha256_of(file.path)},
        "converted": dict(report.converted),
        "unused": {reason: len(keys) for reason, keys in report.unused.items()},
        "absent": {reason: len(keys) for reason, keys in report.absent.items()},
        "notes": list(report.notes),
        "packages": {"aqr_core": core_version, "aqr_train": train_version, "torch": torch.__version__},
    }
    tensors = {key: state[key] for key in report.loaded}
    write_checkpoint(folder, tensors, getattr(model, "geometry", None), dump(config), meta)
    return report, True
