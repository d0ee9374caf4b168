"""How much memory a process has needed so far."""

from __future__ import annotations

import resource
import sys

import torch

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of a unit of ru_maxrss


def peak_memory(device: torch.device) -> tuple[str, float]:
    """What is scarce on the device, and its largest value since the process began, in GiB.

    `peak_gib`: allocated by PyTorch on a CUDA device. `rss_gib`: the resident set of a process that computes on the
    CPU, its loader workers not counted.
    """
    if device.type == "cuda":
        return "peak_gib", torch.cuda.max_memory_allocated(device) / 2**30
    return "rss_gib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**30
