"""What a step really sends and what a process really holds, counted."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._ops import OpOverload
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from aqr_train.estimate.traffic import ALL_GATHER, ALL_REDUCE, BROADCAST, REDUCE_SCATTER

# Operators of torch's process groups, through which DDP, DeepSpeed and FSDP2 all send.
_KINDS = {
    "allreduce": ALL_REDUCE,
    "all_reduce": ALL_REDUCE,
    "broadcast": BROADCAST,
    "allgather": ALL_GATHER,
    "all_gather": ALL_GATHER,
    "reduce_scatter": REDUCE_SCATTER,
    "reduce_": "reduce",
    "alltoall": "all-to-all",
    "all_to_all": "all-to-all",
    "barrier": "barrier",
}


class CollectiveCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every collective within its block; backward passes are within it too.

    Attributes:
        found: kind, and bytes of the whole tensor on one process, in the order of calls.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[str, int]] = []

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Note a collective, and run whatever it is."""
        name = func.overloadpacket.__name__.lstrip("_")
        result = func(*args, **(kwargs or {}))
        if func.namespace in ("c10d", "_c10d_functional") and name != "wait_tensor":
            kind = next(kind for start, kind in _KINDS.items() if name.startswith(start))
            # What is gathered is whole in the output, what is scattered in the input.
            self.found.append((kind, max(map(_bytes, (result, *args)))))
        return result


def _bytes(value: Any) -> int:  # noqa: ANN401 - an argument: tensors, nested lists of them, anything else
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, (list, tuple)) else 0


def held_storages() -> dict[int, int]:
    """Address and bytes of every storage that a tensor of this process refers to.

    What C++ holds alone is not seen: the buckets of DDP, and what autograd saves.
    """
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), Tensor)]
    # A gradient that nobody has looked at is no object of Python's yet.
    tensors += [item.grad for item in tensors if item.is_leaf and item.grad is not None]
    # A DTensor has no storage of its own; its shard is another tensor.
    shards = [item.to_local() if isinstance(item, DTensor) else item for item in tensors]
    plain = [item for item in shards if _has_memory(item)]
    storages = [item.untyped_storage() for item in plain]
    return {storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}


def _has_memory(tensor: Tensor) -> bool:
    """Not what torch.func and torch.compile wrap, trace or only imagine."""
    wrapped = is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor)
    return type(tensor) in (Tensor, nn.Parameter) and not wrapped and tensor.device.type != "meta"


def held_bytes(before: Mapping[int, int]) -> int:
    """Bytes of tensors that have come since `before`, which `held_storages` gave."""
    return sum(size for address, size in held_storages().items() if address not in before)
