"""What mmengine's runner may load: its own checkpoints under torch 2.6 and later, and our `.safetensors`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from aqr_core.checkpoint import read_weights_file
from aqr_core.checkpoint.read import PLAIN_TYPES


def admit_checkpoints() -> None:
    """Once, at import.

    mmengine keeps the log of a run beside its weights. Since 2.6 `torch.load` wants a list of such types, which
    mmengine 0.10.7 does not give: without it neither `--resume` nor `tools/test.py` reads what the run has written.
    These are containers of numbers, and nothing that could run code.
    """
    torch.serialization.add_safe_globals([*PLAIN_TYPES, HistoryBuffer])
    CheckpointLoader.register_scheme(prefixes=r".*\.safetensors$", loader=_load_safetensors, force=True)


def _load_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Tensors on the CPU with what the file and its folder say, as mmengine has it in its checkpoints."""
    file = read_weights_file(filename)
    state: OrderedDict[str, Any] = OrderedDict(file.tensors)
    metadata: OrderedDict[str, Any] = OrderedDict({"": {"version": 1}})
    if file.geometry is not None:
        metadata[""]["geometry"] = file.geometry.record()
    state._metadata = metadata  # type: ignore[attr-defined]  # where torch and mmengine look for it
    meta = {} if file.classes is None else {"dataset_meta": {"classes": file.classes}}
    return {"state_dict": state, "meta": meta}
