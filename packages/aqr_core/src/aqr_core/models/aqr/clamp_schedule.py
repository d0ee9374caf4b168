"""An upper bound of the weight maps that changes with the epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aqr_core.errors import ConfigError


@dataclass(frozen=True)
class ClampSchedule:
    """Bounds and the epochs from which they hold, the first from epoch 0.

    Attributes:
        steps: (from_epoch, max) by increasing epoch.
    """

    steps: tuple[tuple[int, float], ...]

    @classmethod
    def read(cls, entries: Sequence[Sequence[float]]) -> ClampSchedule:
        """From a config's list of (from_epoch, max), e.g. [(0, 2.5), (6, 2.0), (16, 1.5)].

        Raises:
            ConfigError: no pairs, the first not from epoch 0, epochs that do not increase, or a maximum not above 0.
        """
        wanted = f"clamp_schedule is {entries!r}; give a list of (from_epoch, max) like [(0, 2.5), (6, 2.0)]"
        if not isinstance(entries, Sequence) or not entries or not all(_is_pair(entry) for entry in entries):
            raise ConfigError(f"{wanted}.")
        steps = tuple((int(epoch), float(bound)) for epoch, bound in entries)
        epochs = [epoch for epoch, _ in steps]
        if epochs[0] != 0 or any(later <= earlier for earlier, later in zip(epochs, epochs[1:], strict=False)):
            raise ConfigError(f"{wanted} whose epochs start at 0 and increase.")
        if not all(0 < bound < math.inf for _, bound in steps):
            raise ConfigError(f"{wanted} with every max above 0.")
        return cls(steps)

    def at(self, epoch: int) -> float:
        """The bound that holds in this epoch, counted from 0."""
        return next(bound for start, bound in reversed(self.steps) if start <= epoch)


def _is_pair(entry: object) -> bool:
    match entry:
        case [int(), int() | float()]:
            return True
    return False
