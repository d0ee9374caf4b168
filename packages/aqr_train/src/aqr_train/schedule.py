"""Learning rate and beta1 as pure functions of the step, so that a resumed run needs no schedule state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest


class Schedule(Protocol):
    """What the trainer asks of a schedule."""

    @property
    def total_steps(self) -> int:
        """Length of the run."""

    def lr_factor(self, step: int) -> float:
        """Multiple of each group's own rate for update number `step`, counted from 0."""

    def beta1_factor(self, step: int) -> float:
        """Multiple of AdamW's beta1 for update number `step`."""

    def milestones(self) -> tuple[int, ...]:
        """Steps at which the curve turns; a plan prints the rate there."""


@dataclass(frozen=True)
class Cyclic:
    """One cosine up and one cosine down, for the rate and, inversely, for beta1 (mmcv's cyclic policy).

    With `up = int(step_ratio_up * total)` the rate goes 1 -> target_ratio[0] -> target_ratio[1] and beta1
    1 -> momentum_ratio[0] -> momentum_ratio[1], as multiples of the starting values.
    """

    total_steps: int
    target_ratio: tuple[float, float] = (6.0, 1e-4)
    momentum_ratio: tuple[float, float] = (0.85 / 0.95, 1.0)
    step_ratio_up: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.step_ratio_up < 1:
            raise ConfigError(f"schedule.step_ratio_up is {self.step_ratio_up}; it must lie between 0 and 1.")

    def lr_factor(self, step: int) -> float:
        """See `Schedule`."""
        return self._wave(step, *self.target_ratio)

    def beta1_factor(self, step: int) -> float:
        """See `Schedule`."""
        return self._wave(step, *self.momentum_ratio)

    def milestones(self) -> tuple[int, ...]:
        """See `Schedule`."""
        return (0, self._up, self.total_steps - 1)

    @property
    def _up(self) -> int:
        return int(self.step_ratio_up * self.total_steps)

    def _wave(self, step: int, top: float, end: float) -> float:
        if step < self._up:
            return _cosine(1.0, top, step / self._up)
        return _cosine(top, end, (step - self._up) / max(1, self.total_steps - self._up))


@dataclass(frozen=True)
class Constant:
    """Linear warm-up over `warmup_steps`, then the rate as it is configured; beta1 is constant.

    Step i of the warm-up has (i + 1) / (warmup_steps + 1) of the rate, so that the first one moves, too.
    """

    total_steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps:
            raise ConfigError(f"schedule.warmup_steps is {self.warmup_steps}; it must be 0 or more.")

    def lr_factor(self, step: int) -> float:
        """See `Schedule`."""
        return min(1.0, (step + 1) / (self.warmup_steps + 1))

    def beta1_factor(self, step: int) -> float:
        """See `Schedule`."""
        return 1.0

    def milestones(self) -> tuple[int, ...]:
        """See `Schedule`."""
        return tuple(sorted({0, min(self.warmup_steps, self.total_steps - 1), self.total_steps - 1}))


@dataclass(frozen=True)
class Cosine(Constant):
    """The warm-up of `Constant`, then one cosine down to `min_ratio`; beta1 is constant."""

    min_ratio: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_ratio <= 1:
            raise ConfigError(f"schedule.min_ratio is {self.min_ratio}; it must lie in [0, 1].")

    def lr_factor(self, step: int) -> float:
        """See `Schedule`."""
        if step < self.warmup_steps:
            return super().lr_factor(step)
        fraction = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return _cosine(1.0, self.min_ratio, fraction)


SCHEDULES: dict[str, type[Cyclic] | type[Constant]] = {"cyclic": Cyclic, "cosine": Cosine, "constant": Constant}


def build_schedule(config: Mapping[str, Any], total_steps: int) -> Schedule:
    """The schedule that `config['type']` names, over `total_steps` updates.

    Raises:
        ConfigError: unknown type or key, or a value outside its range.
    """
    arguments = dict(config)
    name = arguments.pop("type", None)
    if name not in SCHEDULES:
        raise ConfigError(f"schedule.type is {name!r}.{suggest(str(name), list(SCHEDULES))}")
    known = [item.name for item in fields(SCHEDULES[name]) if item.name != "total_steps"]
    for key in arguments:
        if key not in known:
            raise ConfigError(f"The {name} schedule does not take '{key}'.{suggest(key, known)}")
    return SCHEDULES[name](total_steps, **arguments)


def apply_schedule(schedule: Schedule, groups: Iterable[dict[str, Any]], step: int) -> None:
    """Set rate and beta1 of every group for update number `step`; groups carry `base_lr` and `base_beta1`."""
    for group in groups:
        group["lr"] = group["base_lr"] * schedule.lr_factor(step)
        group["betas"] = (group["base_beta1"] * schedule.beta1_factor(step), group["betas"][1])


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + 0.5 * (start - end) * (math.cos(math.pi * fraction) + 1)
