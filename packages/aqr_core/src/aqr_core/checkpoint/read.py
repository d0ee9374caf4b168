"""Weights files of every kind -> tensors by name, and what the file says of itself. Nothing in a file is run."""

from __future__ import annotations

import json
import mmap
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import get_safe_globals, safe_globals

from aqr_core.checkpoint.checksums import find_damage
from aqr_core.checkpoint.config_text import geometry_in
from aqr_core.checkpoint.folder import CONFIG, META, WEIGHTS, read_meta
from aqr_core.errors import CheckpointError
from aqr_core.models.geometry import BevGeometry

# A damaged file can fail in any of these ways: torch executes opcodes that are not there.
_DAMAGE = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError)
_STATISTICS = ("min", "max", "mean", "current")


class RunLog:
    """Stands for mmengine's `HistoryBuffer`, of which its checkpoints keep one per logged figure; nothing is kept."""

    def __setstate__(self, state: object) -> None:
        """Forget it."""


def log_statistic(owner: object, name: str) -> object:
    """What such a buffer names by `getattr`: its own statistics, and nothing else.

    Raises:
        UnpicklingError: an attribute of anything else, or another attribute.
    """
    if getattr(owner, "__name__", None) not in ("RunLog", "HistoryBuffer") or name not in _STATISTICS:
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {name} of {owner!r}")
    return getattr(owner, name, None)


# mmcv stores scores and rates as numpy scalars, mmengine its log as numpy arrays: functions and number types, which can
# do no harm. NumPy 2 has moved them, and a file keeps the name of its day.
_RECONSTRUCT, _SCALAR = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
PLAIN_TYPES: list[Any] = [
    *((_SCALAR, f"{module}.scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((_RECONSTRUCT, f"{module}._reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    (log_statistic, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(code)) for code in "?bhilqBHILQefd"),
]
_LOG = (RunLog, "mmengine.logging.history_buffer.HistoryBuffer")


@dataclass(frozen=True)
class WeightsFile:
    """One file, read.

    Attributes:
        path: the file.
        tensors: on the CPU, by the names they have in the file.
        geometry: what the weights were trained with, where the file or the config beside it says so.
        classes: what the class scores count, in their order, where the file or the metadata beside it say so.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    geometry: BevGeometry | None
    classes: tuple[str, ...] | None = None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint on the CPU, by the names in the file; see `load_weights` for what `path` may be."""
    return dict(read_weights_file(path).tensors)


def read_weights_file(path: str | Path) -> WeightsFile:
    """Read a checkpoint folder, a `.safetensors` file, or a file of `torch.save`.

    Raises:
        CheckpointError: absent, damaged, or without a state dict; or it wants code to be run.
    """
    file = Path(path)
    if file.is_dir():
        file = file / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; give a checkpoint folder, a .safetensors or a .pth file.")
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    content = read_torch_file(file)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointError(f"{file} holds no state dict; expected a mapping from names to tensors.")
    # mmcv keeps the classes in `meta`, mmengine one level below.
    newer = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    classes = _classes(meta, "CLASSES") or _classes(newer, "classes")
    return WeightsFile(file, dict(content), _stated(file, content) or _configured(meta), classes)


def read_torch_file(file: Path) -> object:
    """What `torch.save` wrote: tensors, plain containers and numbers, on the CPU; nothing in the file is run.

    Raises:
        CheckpointError: the file is damaged, or wants other objects.
    """
    with file.open("rb") as content:
        is_archive_or_pickle = content.read(1) in (b"P", b"\x80")  # zip since PyTorch 1.6, a bare pickle before
    if not is_archive_or_pickle:
        raise CheckpointError(f"{file} is no file of torch.save, perhaps a failed download; take another copy.")
    try:
        admitted = get_safe_globals()  # those of them that are admitted for good would be struck off at the end
        with warnings.catch_warnings(), safe_globals([one for one in (*PLAIN_TYPES, _LOG) if one not in admitted]):
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # advice to the author of the file
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted and not _is_whole_name(file, wanted[1]):
            raise CheckpointError(f"{file} is damaged (it ends in the middle); take another copy.") from error
        named = f" ({wanted[1]})" if wanted else ""
        raise CheckpointError(
            f"{file} holds more than tensors and plain values{named}, which is refused; export its state_dict alone."
        ) from error
    except (*_DAMAGE, struct.error) as error:
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{file} is damaged ({reason}); take another copy.") from error


def _is_whole_name(file: Path, name: str) -> bool:
    """Whether a dotted name, which torch has read as a type, stands in the file with its end.

    In a bare pickle that was cut off within such a name, torch takes what is left of it for the name. An archive has
    sums of its own against that.
    """
    module, _, attribute = name.rpartition(".")
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content[:1] == b"P" or content.find(f"c{module}\n{attribute}\n".encode()) >= 0


def _read_safetensors(file: Path) -> WeightsFile:
    damage = find_damage(file.parent, only=file.name)
    if damage is not None:
        raise CheckpointError(f"{damage}; take another copy.")
    try:
        with safe_open(file, framework="pt") as content:
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 - not a mapping
            record = (content.metadata() or {}).get("geometry")
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged ({error}); take another copy.") from error
    config, meta = file.with_name(CONFIG), file.with_name(META)
    in_folder = file.name == WEIGHTS
    classes = _classes(read_meta(file.parent), "classes") if in_folder and meta.is_file() else None
    if record is not None:
        return WeightsFile(file, tensors, _geometry(file, record), classes)
    text = config.read_text(encoding="utf-8", errors="replace") if in_folder and config.is_file() else ""
    return WeightsFile(file, tensors, geometry_in(text), classes)


def _stated(file: Path, state: Mapping[str, Any]) -> BevGeometry | None:
    """What the detector wrote into the metadata of its state dict, at whatever depth the state dict was taken."""
    metadata = getattr(state, "_metadata", {})
    records = [entry["geometry"] for entry in metadata.values() if isinstance(entry, Mapping) and "geometry" in entry]
    return _geometry(file, records[0]) if records else None


def _configured(meta: object) -> BevGeometry | None:
    """The config whose text mmcv keeps in `meta`."""
    text = meta.get("config") if isinstance(meta, Mapping) else None
    return geometry_in(text) if isinstance(text, str) else None


def _classes(meta: object, key: str) -> tuple[str, ...] | None:
    """The names that metadata, mmcv's or ours, hold under `key`; None where they hold none."""
    classes = meta.get(key) if isinstance(meta, Mapping) else None
    named = isinstance(classes, tuple | list) and all(isinstance(name, str) for name in classes)
    return tuple(classes) if classes and named else None


def _geometry(file: Path, record: str | Mapping[str, Any]) -> BevGeometry:
    try:
        return BevGeometry.from_record(json.loads(record) if isinstance(record, str) else record)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} states a geometry that cannot be read ({record}); take another copy.") from error
