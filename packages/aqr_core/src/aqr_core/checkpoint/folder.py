"""Writing checkpoint folders, whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from aqr_core.checkpoint.atomic import replacing_folder
from aqr_core.checkpoint.checksums import write_checksums
from aqr_core.errors import CheckpointError
from aqr_core.models.geometry import BevGeometry

FORMAT = "aqr-checkpoint"
VERSION = 1
WEIGHTS, CONFIG, META = "model.safetensors", "config.py", "meta.json"


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    config_text: str,
    meta: Mapping[str, Any],
    extra: Callable[[Path], None] | None = None,
) -> Path:
    """Write a checkpoint folder in one stroke.

    Args:
        folder: its final name; an older folder of that name is replaced.
        model: the plain module, not a distributed wrapper; its `geometry`, where it has one, is stated in the file.
        config_text: the resolved config.
        meta: `step`, `epoch`, `classes` and whatever else identifies the run.
        extra: called with the unfinished folder to add files of its own (the trainer's state).
    """
    geometry = getattr(model, "geometry", None)
    return write_checkpoint(folder, model.state_dict(), geometry, config_text, meta, extra)


def write_checkpoint(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    geometry: BevGeometry | None,
    config_text: str,
    meta: Mapping[str, Any],
    extra: Callable[[Path], None] | None = None,
) -> Path:
    """`save_checkpoint` of tensors without their model."""
    with replacing_folder(folder) as unfinished:
        write_weights(tensors, unfinished / WEIGHTS, geometry)
        (unfinished / CONFIG).write_text(config_text, encoding="utf-8")
        record = {"format": FORMAT, "version": VERSION, **meta}
        (unfinished / META).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if extra is not None:
            extra(unfinished)
        write_checksums(unfinished)
    return Path(folder)


def _order_metadata(path: Path) -> None:
    """The library writes the entries of the metadata in random order; equal weights shall be equal bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size
        file.seek(8)
        file.write(text.ljust(size))


def write_weights(tensors: Mapping[str, Tensor], path: Path, geometry: BevGeometry | None = None) -> None:
    """Write a safetensors file with the permissions of any other new file; the library's own are the owner's alone.

    Raises:
        OSError: the disk is full, or the file cannot be written for another reason.
    """
    metadata = {"format": "pt"}
    if geometry is not None:
        metadata["geometry"] = json.dumps(geometry.record())
    # Copies: safetensors refuses tensors that share memory, which tied weights do.
    copies = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    try:
        save_file(copies, path, metadata=metadata)
        _order_metadata(path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_torch_file(content: object, path: Path) -> None:
    """`torch.save`, whose failure to write is an error of the system and not one of torch's own.

    Raises:
        OSError: the disk is full, or the file cannot be written for another reason.
    """
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # of closing the archive, which hides why a write failed
        if not isinstance(error.__context__, OSError):
            raise
        raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error


def read_meta(folder: str | Path) -> dict[str, Any]:
    """`meta.json` of a checkpoint folder, checked for format and version."""
    file = Path(folder) / META
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} does not exist, so {folder} is no checkpoint folder; choose another.") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{file} is not valid JSON ({error}); take another checkpoint.") from error
    if meta.get("format") != FORMAT or meta.get("version") != VERSION:
        raise CheckpointError(
            f"{file} is {meta.get('format')!r} version {meta.get('version')!r}, this release reads {FORMAT!r} "
            f"version {VERSION}; use the release that wrote it."
        )
    return dict(meta)
