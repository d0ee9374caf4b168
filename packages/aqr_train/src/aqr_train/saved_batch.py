"""A batch on disk, for looking at what broke a step: plain containers and tensors, read without running code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aqr_core.checkpoint import replacing_file, write_torch_file
from aqr_core.errors import DataError
from aqr_core.structures import Batch

FORMAT = "aqr-batch"


def save_batch(path: Path, batch: Batch, about: Mapping[str, Any]) -> None:
    """Write a batch, on the CPU, under a temporary name that is then changed.

    Args:
        path: its folder is made.
        batch: on any device.
        about: plain values and tensors that explain it.

    Raises:
        OSError: the file cannot be written.
    """
    on_cpu = batch.to("cpu")
    record = {"format": FORMAT, "batch": {item.name: _own(getattr(on_cpu, item.name)) for item in fields(Batch)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as unfinished:
        write_torch_file({**record, **about}, unfinished)


def load_saved_batch(path: str | Path) -> Batch:
    """The batch that a stopped step left in `WORK_DIR/nonfinite/`, on the CPU.

    `torch.load(path)` gives besides it the step, the process, the losses and `random`, the states of torch's generators
    before its forward pass.

    Raises:
        DataError: the file is something else.
    """
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
        assert record["format"] == FORMAT
        return Batch(**record["batch"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, AssertionError) as error:
        raise DataError(f"{path} is not a saved batch; choose a file below nonfinite/ of a work dir.") from error


def _own(value: Any) -> Any:  # noqa: ANN401 - a field of a batch
    """Without the rest of the storage that a view belongs to, which would be written too."""
    if isinstance(value, list):
        return [_own(item) for item in value]
    return value.detach().clone() if isinstance(value, Tensor) else value
