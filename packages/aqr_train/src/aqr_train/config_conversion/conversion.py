"""A config of the field -> a config of ours, checked by building what it says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from aqr_core.checkpoint import write_text
from aqr_core.config import load_config
from aqr_core.data.pipeline import Pipeline
from aqr_core.errors import ConfigError
from aqr_core.models import build_detector
from aqr_train.config_conversion import report
from aqr_train.config_conversion.datasets import convert_data
from aqr_train.config_conversion.fields import Fields, same
from aqr_train.config_conversion.half_precision import convert_precision
from aqr_train.config_conversion.ledger import Ledger, Outcome
from aqr_train.config_conversion.model import convert_model
from aqr_train.config_conversion.optimizer import convert_optimizer, convert_scaling
from aqr_train.config_conversion.python_text import assignment
from aqr_train.config_conversion.rates import convert_schedule
from aqr_train.config_conversion.runtime import (
    convert_hooks,
    convert_length,
    convert_records,
    convert_rest,
    fading_epoch,
)
from aqr_train.config_conversion.source import Source, read_source
from aqr_train.param_groups import build_grouping
from aqr_train.schedule import build_schedule
from aqr_train.settings import DataSettings, OptimizerSettings, TrainSettings, read_section

# Values that a config states in several places get the name of the first of these keys.
_SHARED = {
    "point_cloud_range": "_point_cloud_range",
    "pc_range": "_point_cloud_range",
    "voxel_size": "_voxel_size",
    "classes": "_classes",
    "class_names": "_classes",
    "data_aug_conf": "_image",
    "code_weights": "_code_weights",
}


@dataclass(frozen=True)
class Conversion:
    """What a source has become.

    Attributes:
        path: of the source.
        config: of ours, by top-level name.
        ledger: what became of every field of the source.
    """

    path: Path
    config: dict[str, Any]
    ledger: Ledger

    @property
    def is_equivalent(self) -> bool:
        """Whether everything that changes results could be expressed."""
        return not self.ledger.of(Outcome.DIFFERENCE)

    @cached_property
    def text(self) -> str:
        """The file: the config, and the account as comments."""
        return _write(self.config, self.ledger, self.path)


def convert_config(path: str | Path, out: str | Path | None = None) -> Conversion:
    """Read, convert, check, and write.

    Args:
        path: a config of mmcv 1.x with a CmtDetector; it is run, as mmcv runs it.
        out: file to write, `.py`; must not exist. None writes nothing.

    Raises:
        ConfigError: unreadable, of another detector, dataset or version, a model that cannot be built here, or `out`
            exists.
    """
    path = Path(path)
    if out is not None:
        _check_place(Path(out))
    conversion = convert_source(read_source(path))
    _check(conversion, path)
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_text(Path(out), conversion.text)
    return conversion


def convert_source(source: Source, parameters: Sequence[str] | None = None) -> Conversion:
    """Convert what has been read, unchecked.

    Args:
        source: see `read_source`.
        parameters: full names of the model's parameters; None builds the model to know them.
    """
    ledger = Ledger()
    fields = Fields(ledger, source.config)
    if "model" not in fields:
        raise ConfigError(f"{source.path} has no 'model'; name the config of a model, not one of its bases.")
    hooks = fields.children("custom_hooks")
    config = convert_data(fields.child("data"), fading_epoch(hooks)) if "data" in fields else {}
    model = convert_model(fields.child("model"), str(source.path))
    train = {
        **convert_length(fields),
        **convert_precision(fields, model),
        **convert_records(fields),
        **convert_hooks(hooks),
    }
    if parameters is None:
        parameters = _parameters(model, source.path)
    optimizer = convert_optimizer(fields.child("optimizer"), parameters) | convert_scaling(fields)
    schedule = convert_schedule(fields.child("lr_config"), fields.child("momentum_config"))
    rest = convert_rest(fields, source.helpers)
    config |= {"model": model, "optimizer": optimizer, "schedule": schedule, "train": train, **rest}
    ledger.close(source.config)
    return Conversion(source.path, config, ledger)


def _parameters(model: Mapping[str, Any], path: Path) -> list[str]:
    try:
        with torch.device("meta"):  # shapes without memory
            return [name for name, _ in build_detector(model).named_parameters()]
    except ConfigError as error:
        raise ConfigError(f"The model of {path} cannot be built here: {error}") from error


def _check(conversion: Conversion, path: Path) -> None:
    """Load the file, and build all but the datasets."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "converted.py"
        file.write_text(conversion.text, encoding="utf-8")
        config = load_config(file)
    try:
        if "data" in config:
            data = read_section(DataSettings, config, "data")
            for dataset in (data.train, data.val):
                Pipeline([] if dataset is None else dataset["pipeline"])
        settings = read_section(TrainSettings, config, "train")
        build_schedule(config["schedule"], settings.total_steps(1000))
        optimizer = read_section(OptimizerSettings, config, "optimizer")
        with torch.device("meta"):
            model = build_detector(config["model"])
        build_grouping(model, optimizer.lr, optimizer.weight_decay, optimizer.param_groups, optimizer.betas)
    except ConfigError as error:
        raise ConfigError(f"{path} says something that cannot be had here: {error}") from error


def _check_place(out: Path) -> None:
    if out.suffix != ".py":
        raise ConfigError(f"--out {out} is to be a config; name a .py file.")
    if out.exists():
        raise ConfigError(f"--out {out} exists; name a new file.")


def _write(config: Mapping[str, Any], ledger: Ledger, path: Path) -> str:
    names = _shared_values(config)
    blocks = [f'"""{path.name}, converted by `aqr convert-config`; at the end, what became of its fields."""', ""]
    blocks += [assignment(name, value) for name, value in names.items()]
    blocks += [""] if names else []
    for name, value in config.items():
        blocks.append(assignment(name, value, names))
    account = "\n".join(f"# {line}".rstrip() for line in report.lines(ledger))
    return "\n".join(blocks) + f"\n\n# What became of the fields of {path.name}:\n#\n{account}\n"


def _shared_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of the file: values that stand in more than one place."""
    found: dict[str, list[Any]] = {}
    for key, value in _entries(config):
        if key in _SHARED and isinstance(value, list | tuple | Mapping):
            found.setdefault(_SHARED[key], []).append(value)
    shared = {name: values[0] for name, values in found.items()}
    return {name: value for name, value in shared.items() if sum(same(value, each) for each in found[name]) > 1}


def _entries(node: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Every key and value of every dict."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield key, value
            yield from _entries(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _entries(item)
