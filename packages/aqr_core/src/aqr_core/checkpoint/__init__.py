"""Checkpoint folders: weights as safetensors, the resolved config and metadata; and loading of any weights.

    <folder>/model.safetensors   every parameter and buffer, frozen ones included; its metadata states the geometry
    <folder>/config.py           the resolved config
    <folder>/meta.json           {"format": "aqr-checkpoint", "version": 1, "step", "epoch", "classes", ...}
    <folder>/SHA256SUMS          of the binary files

A folder appears under its name only when it is complete and on the disk.
"""

from aqr_core.checkpoint.atomic import remove_folder, replacing_file, replacing_folder, sweep_unfinished, write_text
from aqr_core.checkpoint.checksums import find_damage
from aqr_core.checkpoint.folder import (
    CONFIG,
    META,
    WEIGHTS,
    read_meta,
    save_checkpoint,
    write_checkpoint,
    write_torch_file,
    write_weights,
)
from aqr_core.checkpoint.load import load_weights, match_weights, put_weights
from aqr_core.checkpoint.read import WeightsFile, read_torch_file, read_weights, read_weights_file
from aqr_core.checkpoint.report import LoadReport

__all__ = [
    "CONFIG",
    "META",
    "WEIGHTS",
    "LoadReport",
    "WeightsFile",
    "find_damage",
    "load_weights",
    "match_weights",
    "put_weights",
    "read_meta",
    "read_torch_file",
    "read_weights",
    "read_weights_file",
    "remove_folder",
    "replacing_file",
    "replacing_folder",
    "save_checkpoint",
    "sweep_unfinished",
    "write_checkpoint",
    "write_text",
    "write_torch_file",
    "write_weights",
]
