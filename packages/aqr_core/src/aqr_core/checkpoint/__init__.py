"""Checkpoint folders: weights as safetensors, the resolved config and metadata; and loading of any weights.

    <folder>/model.safetensors   every parameter and buffer, frozen ones included; its metadata states the geometry
    <folder>/config.py           the resolved config
    <folder>/meta.json           {"format": "aqr-checkpoint", "version": 1, "step", "epoch", "classes", ...}

A folder appears under its name only when it is complete.
"""

from aqr_core.checkpoint.folder import (
    CONFIG,
    META,
    WEIGHTS,
    read_meta,
    replacing_folder,
    save_checkpoint,
    write_checkpoint,
    write_text,
    write_weights,
)
from aqr_core.checkpoint.load import load_weights, match_weights
from aqr_core.checkpoint.read import WeightsFile, read_torch_file, read_weights, read_weights_file
from aqr_core.checkpoint.report import LoadReport

__all__ = [
    "CONFIG",
    "META",
    "WEIGHTS",
    "LoadReport",
    "WeightsFile",
    "load_weights",
    "match_weights",
    "read_meta",
    "read_torch_file",
    "read_weights",
    "read_weights_file",
    "replacing_folder",
    "save_checkpoint",
    "write_checkpoint",
    "write_text",
    "write_weights",
]
