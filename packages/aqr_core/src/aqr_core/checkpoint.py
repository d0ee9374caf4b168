"""Checkpoint folders: weights as safetensors, the resolved config and metadata; and loading of any weights.

    <folder>/model.safetensors   every parameter and buffer, frozen ones included
    <folder>/config.py           the resolved config
    <folder>/meta.json           {"format": "aqr-checkpoint", "version": 1, "step", "epoch", "classes", ...}

A folder appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aqr_core.errors import CheckpointError

FORMAT = "aqr-checkpoint"
VERSION = 1
WEIGHTS, CONFIG, META = "model.safetensors", "config.py", "meta.json"
# A damaged file can fail in any of these ways: torch executes opcodes that are not there.
_DAMAGE = (RuntimeError, EOFError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_SHOWN = 5  # keys named in an error before "and n more"


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, each field a tuple of state-dict keys.

    Attributes:
        loaded: keys now holding the file's values.
        missing: keys of the model that the file lacks; they keep their initial values.
        unexpected: keys of the file that the model lacks.
        mismatched: keys of both whose shapes differ, as `key: file (..), model (..)`.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def lines(self) -> list[str]:
        """A few lines for the log: counts, and the modules concerned."""
        lines = [f"loaded {len(self.loaded)} tensors"]
        for name in ("missing", "unexpected"):
            keys: tuple[str, ...] = getattr(self, name)
            if keys:
                lines.append(f"{name} {len(keys)}: {_by_module(keys)}")
        if self.mismatched:
            lines.append(f"other shape {len(self.mismatched)}: {_first(self.mismatched)}")
        return lines


def load_weights(model: nn.Module, path: str | Path, strict: bool = True) -> LoadReport:
    """Copy weights from disk into `model`.

    Args:
        model: receives the values on its own device and in its own dtype.
        path: a checkpoint folder, a `.safetensors` file, or a `.pth` file (`state_dict` inside or bare).
        strict: every key must be on both sides with one shape. Otherwise the caller reads the report.

    Raises:
        CheckpointError: unreadable file, no key in common, or any difference under `strict`.
    """
    weights = read_weights(path)
    own = model.state_dict()
    mismatched = [key for key in own if key in weights and weights[key].shape != own[key].shape]
    loaded = [key for key in own if key in weights and key not in set(mismatched)]
    report = LoadReport(
        loaded=tuple(loaded),
        missing=tuple(key for key in own if key not in weights),
        unexpected=tuple(key for key in weights if key not in own),
        mismatched=tuple(
            f"{key}: file {tuple(weights[key].shape)}, model {tuple(own[key].shape)}" for key in mismatched
        ),
    )
    if not loaded:
        raise CheckpointError(
            f"{path} shares no tensor with the model (first keys: {_first(tuple(weights))}); "
            "it belongs to another model, choose its own config."
        )
    if strict:
        for name, keys in (("other shapes", report.mismatched), ("missing", report.missing)):
            if keys:
                raise CheckpointError(f"{path} does not fit the model, {name}: {_first(keys)}; use its own config.")
        if report.unexpected:
            raise CheckpointError(
                f"{path} does not fit the model, unexpected: {_first(report.unexpected)}; use its own config."
            )
    model.load_state_dict({key: weights[key] for key in loaded}, strict=False)
    return report


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint on the CPU, by state-dict key; see `load_weights` for what `path` may be."""
    file = Path(path)
    if file.is_dir():
        file = file / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; give a checkpoint folder, a .safetensors or a .pth file.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged ({error}); take another copy.") from error
    content = read_torch_file(file)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file} holds no state dict; expected a mapping from names to tensors.")
    return dict(content)


def read_torch_file(file: Path) -> object:
    """What `torch.save` wrote: tensors and plain containers, on the CPU; nothing in the file is run.

    Raises:
        CheckpointError: the file is damaged, or wants other objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # advice to the author of the file
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} holds more than tensors and plain values, which is refused; export its state_dict alone."
        ) from error
    except _DAMAGE as error:
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{file} is damaged ({reason}); take another copy.") from error


def write_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file with the permissions of any other new file; the library's own are the owner's alone."""
    save_file(dict(tensors), path, metadata={"format": "pt"})
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
        model: the plain module, not a distributed wrapper.
        config_text: the resolved config.
        meta: `step`, `epoch`, `classes` and whatever else identifies the run.
        extra: called with the unfinished folder to add files of its own (the trainer's state).
    """
    with replacing_folder(folder) as unfinished:
        # Copies: safetensors refuses tensors that share memory, which tied weights do.
        tensors = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in model.state_dict().items()}
        write_weights(tensors, unfinished / WEIGHTS)
        (unfinished / CONFIG).write_text(config_text, encoding="utf-8")
        record = {"format": FORMAT, "version": VERSION, **meta}
        (unfinished / META).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if extra is not None:
            extra(unfinished)
    return Path(folder)


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


def _first(keys: tuple[str, ...]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _by_module(keys: tuple[str, ...]) -> str:
    """'pts_bbox_head.task_heads (12), img_neck (4)': keys counted by their first two name parts."""
    counts: dict[str, int] = {}
    for key in keys:
        module = ".".join(key.split(".")[:-1][:2]) or key
        counts[module] = counts.get(module, 0) + 1
    return ", ".join(f"{module} ({count})" for module, count in counts.items())
