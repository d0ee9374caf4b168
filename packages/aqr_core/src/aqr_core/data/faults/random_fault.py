"""Failures as training augmentation: one of several, now and then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aqr_core.data.faults.fault import Fault, checked_probability
from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS, build


@TRANSFORMS.register_module()
class RandomFault(Fault):
    """Strikes a sample with a probability, by one of several failures, all alike.

    Several severities of one failure are several failures. What is drawn comes from the frame's generator, so it
    changes from epoch to epoch; it draws as much whether it strikes or not.

        dict(type="RandomFault", probability=0.3, faults=[dict(type="BeamReduction", count=n) for n in (4, 8, 16)])

    Args:
        faults: config dicts of failures that have the same place in a pipeline; it goes where they go.
        probability: that a sample is struck.
        seed: not used; everything is drawn from the frame's generator.

    Raises:
        ConfigError: no failure, another transform among them, or failures of different places or sensors.
    """

    def __init__(self, faults: Sequence[Mapping[str, Any]], probability: float, seed: int = 0) -> None:
        super().__init__(seed)
        self.probability = checked_probability("RandomFault", probability)
        self.faults = [build_fault(fault) for fault in faults]
        where = {(fault.sensor, fault.place) for fault in self.faults}
        if len(where) != 1:
            places = "; ".join(f"{type(fault).__name__}: {fault.place.value}" for fault in self.faults) or "none"
            raise ConfigError(
                f"RandomFault takes failures of one sensor and one place, got {places}; give each place a RandomFault "
                "of its own."
            )
        ((self.sensor, self.place),) = where  # type: ignore[misc]

    def __call__(self, frame: Frame) -> None:
        """Draws whether, which, and the seed."""
        struck = frame.rng.uniform() < self.probability
        fault = self.faults[int(frame.rng.integers(len(self.faults)))]
        seed = int(frame.rng.integers(2**31))
        if struck:
            fault.strike(frame, seed)

    def strike(self, frame: Frame, seed: int) -> None:
        """As a call; the seed is not used."""
        self(frame)


def build_fault(step: Mapping[str, Any]) -> Fault:
    """The failure of a config dict.

    Raises:
        ConfigError: an unknown type or argument, or a transform that is no failure.
    """
    fault = build(step, TRANSFORMS)
    if not isinstance(fault, Fault):
        raise ConfigError(f"{step['type']} is no sensor failure; give one of aqr_core.data.faults.")
    return fault
