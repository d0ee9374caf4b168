"""A 64-bit hash of a tensor that can be added up from its shards, so that nothing is moved to compute it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor

from aqr_train.freezing.shards import is_shared_out, local_part

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_CHUNK = 1 << 20  # numbers whose hashes are held at a time


def fingerprint(tensor: Tensor) -> Tensor:
    """() int64: the sum of h(bits) over the numbers of a tensor, wherever they stand.

    h(b) = b (2 b + 1) modulo 2^64 is a bijection (Rivest et al., The RC6 block cipher, section 3), so one changed bit
    always shows; it is not linear, so changes that cancel in a plain sum, such as two flipped signs, show too. An
    exchange of two numbers does not.
    """
    integers = bit_pattern(tensor).flatten()
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for chunk in torch.split(integers, _CHUNK):
        bits = chunk.to(torch.int64)
        total += (bits * (2 * bits + 1)).sum()
    return total


def bit_pattern(tensor: Tensor) -> Tensor:
    """The same bits as integers, so that -0.0 and 0.0 differ and a NaN equals itself."""
    return tensor.detach().contiguous().view(_INTEGERS[tensor.element_size()])


def fingerprints(tensors: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, int]:
    """Hash of every tensor as a whole, by name; collective where tensors are shared out.

    A tensor that every process holds is hashed here as it is here, so that a process that has drifted alone is seen.
    """
    if not tensors:
        return {}
    device = accelerator.device
    hashes = torch.stack([fingerprint(local_part(tensor)).to(device) for tensor in tensors.values()])
    shared = torch.tensor([is_shared_out(tensor) for tensor in tensors.values()], device=device)
    if shared.any():
        hashes = torch.where(shared, accelerator.reduce(hashes, "sum"), hashes)
    return dict(zip(tensors, map(int, hashes.tolist()), strict=True))
