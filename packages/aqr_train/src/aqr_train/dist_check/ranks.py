"""What a process is and runs on, and what must be alike or apart on all of them."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
import torch.distributed as dist
from accelerate import Accelerator

from aqr_train.benchmarks.environment import device_name

_PACKAGES = ("aqr-train", "aqr-core", "torch", "accelerate", "deepspeed", "numpy")
_GIB = 2**30


@dataclass(frozen=True)
class Rank:
    """One process.

    Attributes:
        rank, local_rank: among all processes, and among those of its node.
        host, pid: where to find it.
        device: 'cpu' or 'cuda:1', and its name.
        unit: what no other rank may use: the identity of its GPU; empty on a CPU.
        memory_gib: of the GPU, else of the host.
        backend: of the collectives, with its version if it has one; 'none' for one process.
        versions: of Python, CUDA and the packages; '-' where there is none.
    """

    rank: int
    local_rank: int
    host: str
    pid: int
    device: str
    unit: str
    memory_gib: float
    backend: str
    versions: dict[str, str]


def describe_rank(accelerator: Accelerator) -> Rank:
    """This process."""
    device, on_gpu = accelerator.device, accelerator.device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if on_gpu else None
    memory = properties.total_memory if properties else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    backend = dist.get_backend() if dist.is_initialized() else "none"
    nccl = _nccl_version() if on_gpu else "-"
    return Rank(
        rank=int(accelerator.process_index),
        local_rank=int(accelerator.local_process_index),
        host=socket.gethostname(),
        pid=os.getpid(),
        device=f"{device if on_gpu else 'cpu'} {device_name(device)}",
        unit=str(properties.uuid) if properties else "",
        memory_gib=memory / _GIB,
        backend=f"{backend} {nccl}" if "nccl" in backend else backend,
        versions={
            "Python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
            "CUDA": str(torch.version.cuda or "-"),
            "NCCL": nccl,
        },
    )


def find_faults(ranks: Sequence[Rank]) -> list[str]:
    """One sentence per version that differs and per GPU that two ranks share."""
    first, faults = ranks[0], []
    for name in first.versions:
        other = next((rank for rank in ranks if rank.versions[name] != first.versions[name]), None)
        if other is not None:
            faults.append(
                f"{name} is {first.versions[name]} on rank {first.rank} ({first.host}) and {other.versions[name]} on "
                f"rank {other.rank} ({other.host}); install the same on every node."
            )
    owners: dict[str, Rank] = {}
    for rank in ranks:
        owner = owners.setdefault(rank.unit, rank)
        if rank.unit and owner is not rank:
            faults.append(
                f"Ranks {owner.rank} and {rank.rank} share one GPU of {rank.host}; start as many processes per node as "
                "it has GPUs (--num_processes)."
            )
    return faults


def _nccl_version() -> str:
    numbers: tuple[int, ...] = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    return ".".join(map(str, numbers))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
