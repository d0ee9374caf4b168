"""What every step of a pipeline is converted with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aqr_train.config_conversion.fields import Fields


@dataclass(frozen=True)
class Surroundings:
    """What the steps depend on beside themselves.

    Attributes:
        training: whether it is the training pipeline.
        data_root: of the dataset.
        classes: of the dataset.
        use_valid_flag: of the dataset.
        paste_until: epoch from which nothing is pasted, None where a hook does not say.
    """

    training: bool
    data_root: str
    classes: list[str]
    use_valid_flag: bool = False
    paste_until: int | None = None


Steps = list[dict[str, Any]]


def taken(step: Fields, names: Collection[str]) -> dict[str, Any]:
    """Those of the arguments that the step has, kept."""
    return {name: step.keep(name) for name in step if name in names and name != "type"}


def known_velocity(step: Fields) -> dict[str, Any]:
    """Upstream sets unknown velocities to 0 in its dataset, we in the steps that bring boxes."""
    why = "upstream's dataset takes an unknown velocity as 0"
    return {"zero_unknown_velocity": step.add("zero_unknown_velocity", True, why)}


def ours(step: Fields, kind: str) -> str:
    """The type of a step that may have another name upstream."""
    if step.get("type") == kind:
        step.keep("type")
    else:
        step.rename("type", kind)
    return kind
