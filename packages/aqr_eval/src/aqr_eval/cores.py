"""Work for several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use, which a container or a batch system may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(function: Callable[..., Result], *arguments: Iterable[object], workers: int) -> list[Result]:
    """`map` in `workers` processes, in this one where that is one.

    They are spawned: whoever calls may have threads, such as a console's, which a fork would cut off in the middle of
    whatever they do.
    """
    if workers <= 1:
        return list(map(function, *arguments))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(pool.map(function, *arguments))
