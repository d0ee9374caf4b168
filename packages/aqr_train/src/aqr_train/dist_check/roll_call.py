"""Who answers and who does not, told through the store of the launcher, which needs no collective to work."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined] # which its __all__ leaves out
    DistError,
    DistStoreError,
    HashStore,
    PrefixStore,
    Store,
    TCPStore,
)

_GRACE_S = 3.0  # the launcher ends all processes once one has ended, so the one that speaks must be the first
_NAMED = 4  # ranks named in a sentence; the rest is counted


class Unanswered(Exception):
    """A rank did not answer in time; one sentence on which.

    Attributes:
        tell: whether this process is the one that says it.
    """

    def __init__(self, sentence: str, *, tell: bool) -> None:
        super().__init__(sentence)
        self.tell = tell


def open_store(world_size: int, timeout_s: float) -> Store:
    """The store that the launcher's `MASTER_ADDR` names; one of its own for a single process, which may have none.

    Raises:
        Unanswered: nobody is there.
    """
    if world_size == 1:
        return HashStore()
    host, port, rank = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["RANK"])
    launcher_serves = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # else rank 0 does
    try:
        # As torch opens it, and shared with torch on rank 0, but torch waits for all and does not tell who is missing.
        store = TCPStore(
            host,
            port,
            world_size,
            is_master=rank == 0 and not launcher_serves,
            timeout=timedelta(seconds=timeout_s),
            wait_for_workers=False,
            multi_tenant=True,
        )
    except DistError as error:
        raise Unanswered(
            f"Rank {rank} does not meet the others at {host}:{port} within {timeout_s:g} s; check that the "
            "first node is up, that its name resolves and that the port is open.",
            tell=True,
        ) from error
    return PrefixStore("dist_check", store)


class RollCall:
    """One per process; every process makes the same calls in the same order.

    Args:
        store: that all processes see.
        per_node: processes on a node, to tell where a rank is.
        timeout_s: seconds that a rank may take for one call.
        end: ends the process when a collective hangs, from which no exception leads out.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        world_size: int,
        *,
        per_node: int,
        timeout_s: float,
        end: Callable[[Unanswered], None] | None = None,
    ) -> None:
        self.rank, self.world_size, self.timeout_s = rank, world_size, timeout_s
        self._store, self._per_node = store, per_node
        self._end = _end_process if end is None else end

    def exchange(self, what: str, value: Any) -> list[Any]:  # noqa: ANN401 - whatever JSON holds
        """What each rank says, in the order of ranks; waits for all of them.

        Args:
            what: names the call in messages; unique in a run.
            value: what this rank says; whatever JSON holds.

        Raises:
            Unanswered: names the ranks that did not call in time.
        """
        self._store.set(f"{what}/{self.rank}", json.dumps(value))
        try:
            self._store.wait(self._keys(what), timedelta(seconds=self.timeout_s))
        except DistStoreError:
            silent = self._silent(what)
            raise self._unanswered(silent, f"did not answer '{what}' within {self.timeout_s:g} s") from None
        return [json.loads(self._store.get(key)) for key in self._keys(what)]

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Around calls that wait for other ranks inside of a library; ends the process where they take too long."""
        key = f"{what} (begun)"
        self._store.set(f"{key}/{self.rank}", "")
        timer = threading.Timer(self.timeout_s, lambda: self._expire(what, key))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self, what: str, key: str) -> None:
        silent = self._silent(key)
        if silent:
            self._end(self._unanswered(silent, f"did not come to '{what}' within {self.timeout_s:g} s"))
            return
        sentence = (
            f"'{what}' takes more than {self.timeout_s:g} s with every rank in it, so the links do not carry it; check "
            "the firewall and NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME (NCCL_DEBUG=INFO says more), or raise --timeout."
        )
        self._end(Unanswered(sentence, tell=self.rank == 0))

    def _unanswered(self, silent: list[int], what_not: str) -> Unanswered:
        places = [f"rank {rank} (node {rank // self._per_node})" for rank in silent[:_NAMED]]
        if len(silent) > _NAMED:
            places.append(f"{len(silent) - _NAMED} more")
        names = ", ".join(places)
        first_present = min(set(range(self.world_size)) - set(silent))
        return Unanswered(
            f"{names[0].upper()}{names[1:]} {what_not}; look there for what went wrong, or raise --timeout.",
            tell=self.rank == first_present,
        )

    def _silent(self, what: str) -> list[int]:
        return [rank for rank, key in enumerate(self._keys(what)) if not self._store.check([key])]

    def _keys(self, what: str) -> list[str]:
        return [f"{what}/{rank}" for rank in range(self.world_size)]


def tell(error: Unanswered) -> None:
    """Say it where this process is the one to do so, and else leave that one the time."""
    if error.tell:
        sys.stderr.write(f"error: {error}\n")
        sys.stderr.flush()
    else:
        time.sleep(_GRACE_S)


def _end_process(error: Unanswered) -> None:
    tell(error)
    os._exit(1)  # the main thread hangs in a collective
