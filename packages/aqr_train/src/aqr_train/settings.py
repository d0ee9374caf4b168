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
    """`optimizer`: AdamW and its parameter groups (see `param_groups`).

    Attributes:
        lr: the rate of a group without factor.
        base_batch_size: where set, `lr` belongs to this many samples per update and is scaled with the batch that the
            run really has (Goyal et al., arXiv 1706.02677, section 2.1).
    """

    lr: float
    type: str = "AdamW"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    param_groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    base_batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.type != "AdamW":
            raise ConfigError(f"optimizer.type is '{self.type}'; this release trains with 'AdamW', set that.")
        if not self.lr > 0:
            raise ConfigError(f"optimizer.lr is {self.lr}; it must be above 0.")
        if not self.weight_decay >= 0:
            raise ConfigError(f"optimizer.weight_decay is {self.weight_decay}; it must be 0 or more.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"optimizer.betas is {self.betas}; give two numbers from 0 to below 1, such as (0.9, 0.999)."
            )
        _whole("optimizer.base_batch_size", self.base_batch_size, 1, or_none=True)

    def scaled_lr(self, samples: int) -> float:
        """The rate for an update of this many samples."""
        return self.lr if self.base_batch_size is None else self.lr * samples / self.base_batch_size


@dataclass(frozen=True)
class TrainSettings:
    """`train`: how long, how precise, how often.

    Attributes:
        max_steps, epochs: the length of the run; exactly one is set.
        grad_clip: largest global L2 norm of the gradient; None leaves it alone.
        accumulate: batches of every process whose gradients are averaged to one update.
        precision: 'fp32', 'bf16' or 'fp16' arithmetic of the forward pass; weights stay float32.
        max_skipped: fp16 only: so many updates in a row without one are an error.
        gradient_checkpointing: True or False sets every `with_cp` of the model; None leaves them as configured.
        ema: decay of the exponential moving average of the weights, which is then validated and published; None keeps
            none.
        log_every: steps per line in the log and in `scalars.jsonl`.
        val_every: steps between validations; 0 validates after the last step only, None never.
        picture_every: steps between pictures of the AQR weights in TensorBoard; 0 draws after the last step only, None
            never.
        save_every: steps between checkpoints; 0 saves after the last step only.
        keep: newest checkpoints that stay on disk; 0 keeps all.
        best: validation scalar whose highest value marks the checkpoint that `best` names; it stays on disk too.
        trackers: names of trackers of Accelerate ('wandb', 'mlflow', ...) that get the scalars as well.
        find_unused_parameters: several processes only; for models that leave parameters out of a step.
    """

    max_steps: int | None = None
    epochs: int | None = None
    grad_clip: float | None = 35.0
    accumulate: int = 1
    precision: str = "fp32"
    max_skipped: int = 20
    gradient_checkpointing: bool | None = None
    ema: float | None = None
    log_every: int = 50
    val_every: int | None = 0
    picture_every: int | None = None
    save_every: int = 0
    keep: int = 2
    best: str = "NDS"
    trackers: tuple[str, ...] = ()
    find_unused_parameters: bool = False

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.epochs is None):
            raise ConfigError(
                f"train.max_steps is {self.max_steps} and train.epochs is {self.epochs}; set one and leave the "
                "other None."
            )
        for name in ("max_steps", "epochs"):
            _whole(f"train.{name}", getattr(self, name), 1, or_none=True)
        for name in ("val_every", "picture_every"):
            _whole(f"train.{name}", getattr(self, name), 0, or_none=True)
        for name in ("log_every", "accumulate", "max_skipped"):
            _whole(f"train.{name}", getattr(self, name), 1)
        for name in ("save_every", "keep"):
            _whole(f"train.{name}", getattr(self, name), 0)
        if self.gradient_checkpointing not in (None, False, True):
            raise ConfigError(
                f"train.gradient_checkpointing is {self.gradient_checkpointing!r}; set True, False or None."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"train.ema is {self.ema}; it must lie between 0 and 1, such as 0.9998, or be None.")
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


def _whole(name: str, value: object, least: int, *, or_none: bool = False) -> None:
    if value is None and or_none:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value}; it must be a whole number from {least}{', or None' if or_none else ''}.")
