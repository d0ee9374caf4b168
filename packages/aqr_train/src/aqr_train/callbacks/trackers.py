"""Experiment trackers (wandb, mlflow, ...) through Accelerate."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelerate.utils import ProjectConfiguration

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest
from aqr_train.callbacks.base import Callback, Scalars
from aqr_train.callbacks.logger import board_name

if TYPE_CHECKING:
    from aqr_train.trainer import Trainer

PROJECT = "aqr"
# Trackers that take an identity chosen here: the argument that carries it, and what else makes them go on with it.
_IDENTITY: dict[str, tuple[str, dict[str, str]]] = {
    "wandb": ("id", {"resume": "allow"}),
    "swanlab": ("id", {"resume": "allow"}),
    "trackio": ("name", {"resume": "allow"}),
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse what cannot track, before anything is loaded.

    Raises:
        ConfigError: no list, a name that Accelerate does not know, or a package that is not installed.
    """
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    if isinstance(names, str):
        raise ConfigError(f"train.trackers is '{names}'; write a list, train.trackers=['{names}'].")
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ConfigError(f"train.trackers names '{name}'.{suggest(name, sorted(LOGGER_TYPE_TO_CLASS))}")
        if name in LoggerType.list() and name not in map(str, get_available_trackers()):
            raise ConfigError(
                f"train.trackers names '{name}', whose package is not installed; install it with "
                f"`pip install {name.replace('_', '-')}`, or leave the name out."
            )


class Trackers(Callback):
    """Hands the resolved config and every scalar to trackers of Accelerate; the main process does.

    A resumed run goes on in wandb, swanlab, trackio, mlflow and tensorboard where it was; the others open a new run.
    Accelerate closes them in `end_training`. What a tracker writes on disk lies below `trackers/` as far as it asks.

    Args:
        names: as in `train.trackers`, checked by `check_trackers`.
        config: the resolved config.
    """

    def __init__(self, names: Sequence[str], config: Mapping[str, Any]) -> None:
        self._names = list(dict.fromkeys(names))
        self._config = config
        self._identity: dict[str, str] = {}

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open them."""
        from accelerate.tracking import filter_trackers

        accelerator, folder = trainer.accelerator, trainer.work_dir / "trackers"
        accelerator.project_configuration = ProjectConfiguration(str(trainer.work_dir), str(folder))
        accelerator.log_with = filter_trackers(self._names, str(folder))
        arguments = {name: self._arguments(name, trainer) for name in self._names}
        # A run that goes on has its config, and mlflow takes none twice.
        config = None if self._identity else {board_name(key): value for key, value in flatten(self._config)}
        for name in _IDENTITY.keys() & set(self._names):
            self._identity[name] = arguments[name][_IDENTITY[name][0]]
        accelerator.init_trackers(PROJECT, config, arguments)
        if trainer.is_main and "mlflow" in self._names:  # chooses its identity itself
            self._identity["mlflow"] = accelerator.get_tracker("mlflow", unwrap=True).info.run_id

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Pass them on."""
        trainer.accelerator.log({board_name(name): value for name, value in scalars.items()}, step=trainer.state.step)

    def state_dict(self) -> dict[str, Any]:
        """Which runs to go on with."""
        return {"identity": self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with them."""
        self._identity = dict(state.get("identity", {}))

    def _arguments(self, name: str, trainer: Trainer) -> dict[str, Any]:
        """Of the tracker's constructor."""
        run = trainer.work_dir.resolve().name
        if name in _IDENTITY:
            key, others = _IDENTITY[name]
            return {key: self._identity.get(name, f"{run}-{uuid.uuid4().hex[:8]}"), **others}
        if name == "mlflow":
            return {"run_id": self._identity[name]} if name in self._identity else {"run_name": run}
        return {"purge_step": trainer.state.step + 1} if name == "tensorboard" else {}


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and plain values of a nested config; lists and None as text, which every tracker takes."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, bool | int | float | str) else str(value)
