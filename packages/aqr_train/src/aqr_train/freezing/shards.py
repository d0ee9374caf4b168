"""The numbers of a tensor that this process holds, whatever shares them out."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor


def is_shared_out(tensor: Tensor) -> bool:
    """Whether this process holds a part only (ZeRO-3, FSDP2)."""
    return isinstance(tensor, DTensor) or hasattr(tensor, "ds_tensor")


def local_part(tensor: Tensor) -> Tensor:
    """What this process holds, without padding; the parts of all processes make up the tensor once."""
    values: Any = tensor.detach()
    if isinstance(values, DTensor):
        values = values.to_local()
    elif hasattr(tensor, "ds_tensor"):
        whole: Any = tensor  # with the attributes that DeepSpeed adds
        shard = whole.ds_tensor
        left = whole.ds_numel - whole.ds_process_group.rank() * shard.ds_numel
        values = shard.detach()[: max(0, min(left, shard.ds_numel))]
    part: Tensor = values
    return part
