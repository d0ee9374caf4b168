"""Writing checkpoint folders, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

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
        # Copies: safetensors refuses tensors that share memory, which tied weights do.
        copies = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
        write_weights(copies, unfinished / WEIGHTS, geometry)
        (unfinished / CONFIG).write_text(config_text, encoding="utf-8")
        record = {"format": FORMAT, "version": VERSION, **meta}
        (unfinished / META).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if extra is not None:
            extra(unfinished)
    return Path(folder)


def write_weights(tensors: Mapping[str, Tensor], path: Path, geometry: BevGeometry | None = None) -> None:
    """Write a safetensors file with the permissions of any other new file; the library's own are the owner's alone."""
    metadata = {"format": "pt"}
    if geometry is not None:
        metadata["geometry"] = json.dumps(geometry.record())
    save_file(dict(tensors), path, metadata=metadata)
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


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


@contextmanager
def replacing_folder(folder: str | Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder` and gives it that name when the block is done.

    A block that raises leaves the old folder as it was and nothing beside it. Missing parents are made.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    unfinished.mkdir()
    try:
        yield unfinished
        _replace_folder(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file under a temporary name, then rename it."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _replace_folder(source: Path, target: Path) -> None:
    if not target.exists():
        os.rename(source, target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    os.rename(target, old)
    os.rename(source, target)
    shutil.rmtree(old)
