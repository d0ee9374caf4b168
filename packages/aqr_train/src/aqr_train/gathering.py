"""What several processes have made of their shares: how much so far, and all of it at the end."""

from __future__ import annotations

from itertools import count
from typing import TypeVar

import torch.distributed
from accelerate import Accelerator
from torch.distributed import PrefixStore  # type: ignore[attr-defined] # which its __all__ leaves out
from torch.distributed.distributed_c10d import _get_default_store

Part = TypeVar("Part")
_numbers = count()  # of the counts of this process; every process makes them in the same order


def gather_on_main(part: Part, accelerator: Accelerator) -> list[Part]:
    """The parts of all processes in the order of their ranks, on the main process; nothing on the others.

    Parts are pickled, so numpy columns travel as their bytes.
    """
    if accelerator.num_processes == 1:
        return [part]
    parts: list[Part] | None = [part] * accelerator.num_processes if accelerator.is_main_process else None
    torch.distributed.gather_object(part, parts)
    return parts or []


class SharedCount:
    """What all processes have done together, counted in the store of their group: nobody waits for another.

    Args:
        accelerator: the processes; all of them make the count.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._done = 0
        self._store: PrefixStore | None = None
        number = next(_numbers)
        if accelerator.num_processes > 1:
            self._store = PrefixStore(f"aqr shared count {number}", _get_default_store())

    def add(self, more: int) -> int:
        """Add what this process has done; returns what all have done so far."""
        self._done = self._done + more if self._store is None else self._store.add("done", more)
        return self._done
