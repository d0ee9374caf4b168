"""How many processes pay."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may use, which a container or a batch system may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
