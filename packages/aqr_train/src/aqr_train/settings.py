"""The plain sections of a config as checked records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest

Section = TypeVar("Section")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class DataSettings:
    """`data`: the datasets and how batches are drawn from them.

    Attributes:
        train: dataset config.
        val: dataset config, or None where nothing is validated.
        batch_size: samples per process and step.
        num_workers: loader processes per training process; 0 loads in the training process.
    """

    train: Mapping[str, Any]
    val: Mapping[str, Any] | None = None
    batch_size: int = 1
    num_workers: int = 0

    def __post_init__(self) -> None:
        _whole("data.batch_size", self.batch_size, 1)
        _whole("data.num_workers", self.num_workers, 0)


@dataclass(frozen=True)
class OptimizerSettings:
    """`optimizer`: AdamW and its parameter groups (see `param_groups`)."""

    lr: float
    type: str = "AdamW"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    param_groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.type != "AdamW":
            raise ConfigError(f"optimizer.type is '{self.type}'; this release trains with 'AdamW', set that.")
        if not self.lr > 0:
            raise ConfigError(f"optimizer.lr is {self.lr}; it must be above 0.")
        if not self.weight_decay >= 0:
            raise ConfigError(f"optimizer.weight_decay is {self.weight_decay}; it must be 0 or more.")


@dataclass(frozen=True)
class TrainSettings:
    """`train`: how long, how precise, how often.

    Attributes:
        max_steps, epochs: the length of the run; exactly one is set.
        grad_clip: largest global L2 norm of the gradient; None leaves it alone.
        precision: 'fp32', 'bf16' or 'fp16' arithmetic of the forward pass; weights stay float32.
        log_every: steps per line in the log and in `scalars.jsonl`.
        val_every: steps between validations; 0 validates after the last step only, None never.
        picture_every: steps between pictures of the AQR weights in TensorBoard; 0 draws after the last step only, None
            never.
        save_every: steps between checkpoints; 0 saves after the last step only.
        keep: newest checkpoints that stay on disk; 0 keeps all.
        find_unused_parameters: several processes only; for models that leave parameters out of a step.
    """

    max_steps: int | None = None
    epochs: int | None = None
    grad_clip: float | None = 35.0
    precision: str = "fp32"
    log_every: int = 50
    val_every: int | None = 0
    picture_every: int | None = None
    save_every: int = 0
    keep: int = 2
    find_unused_parameters: bool = False

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.epochs is None):
            raise ConfigError(
                f"train.max_steps is {self.max_steps} and train.epochs is {self.epochs}; set one and leave the "
                "other None."
            )
        _whole("train.max_steps", self.max_steps, 1)
        _whole("train.epochs", self.epochs, 1)
        _whole("train.log_every", self.log_every, 1)
        _whole("train.val_every", self.val_every, 0)
        _whole("train.picture_every", self.picture_every, 0)
        _whole("train.save_every", self.save_every, 0)
        _whole("train.keep", self.keep, 0)
        if self.grad_clip is not None and not self.grad_clip > 0:
            raise ConfigError(f"train.grad_clip is {self.grad_clip}; it must be above 0, or None for no clipping.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"train.precision is '{self.precision}'.{suggest(self.precision, list(PRECISIONS))}")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps of the whole run."""
        return self.max_steps if self.max_steps is not None else (self.epochs or 0) * steps_per_epoch


def read_section(cls: type[Section], config: Mapping[str, Any], name: str) -> Section:
    """`config[name]` as a record of type `cls`.

    Raises:
        ConfigError: a missing section, an unknown or a missing key.
    """
    if name not in config:
        raise ConfigError(f"The config has no '{name}' section; inherit one from _base_ or add it.")
    section = dict(config[name])
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in section:
        if key not in known:
            raise ConfigError(f"The config has an unknown key '{name}.{key}'.{suggest(key, list(known))}")
    try:
        return cls(**section)
    except TypeError as error:
        raise ConfigError(f"The config section '{name}' is incomplete or holds a wrong type: {error}.") from error


def _whole(name: str, value: int | None, least: int) -> None:
    if value is None:
        return
    if not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value}; it must be a whole number from {least}.")
