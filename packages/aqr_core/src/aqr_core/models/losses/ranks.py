"""Counts over all processes of a distributed run, so that N ranks train like one with the same global batch.

Upstream averages most losses by the counts of the own rank. With gradients averaged over ranks that weights a sample
by who else sits on its rank; these functions give the global count per rank instead. One process: no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def sum_over_ranks(counts: Tensor) -> Tensor:
    """Element-wise sum of the ranks' tensors."""
    if world_size() == 1:
        return counts
    counts = counts.clone()
    distributed.all_reduce(counts, op=distributed.ReduceOp.SUM)
    return counts


def max_over_ranks(count: int, device: torch.device) -> int:
    """Largest of the ranks' numbers."""
    if world_size() == 1:
        return count
    tensor = torch.tensor(count, device=device)
    distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
    return int(tensor)
