"""The dataset that the loader is measured on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_core.config import load_config
from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.build import build_object_database
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import build_infos
from aqr_core.registry import suggest
from aqr_core.synth import generate
from aqr_train.assembly import build_dataset
from aqr_train.cli.progress import Bars

_SPLIT = "mini_train"
_DATABASE = f"gt_database_{_SPLIT}"  # where the shipped configs look


@dataclass(frozen=True)
class LoaderData:
    """A train dataset, and the samples of it that are made in every round.

    Attributes:
        dataset: of the config, without class balance, so that an index is a keyframe.
        indices: keyframes with all their sweeps, evenly spread.
        database: what objects are pasted from; None where the pipeline pastes none.
    """

    dataset: Any
    indices: tuple[int, ...]
    database: ObjectDatabase | None


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say where the data lies."""
    parser.add_argument(
        "--dataroot",
        type=Path,
        default=Path("data/benchmark_loader"),
        help="folder of the data; without --infos, a synthetic scene of full size (340 MB) that is made when absent",
    )
    parser.add_argument("--infos", help="infos file in the dataroot, to measure on other data")


def synthesise(dataroot: Path) -> str:
    """One synthetic scene of full size with infos and object database below `dataroot`, made where it is absent.

    Returns:
        Name of the infos file in `dataroot`.

    Raises:
        DataError: `dataroot` holds something else.
    """
    with Bars("steps") as bars:
        generate(dataroot, 1, 0, preset="full", workers=1, progress=lambda done, total: bars.show("synth", done, total))
        infos = build_infos(dataroot, "v1.0-mini", dataroot, splits=[_SPLIT], progress=bars.show)[_SPLIT]
        build_object_database(dataroot, infos, dataroot / _DATABASE, workers=1, progress=bars.show)
    return infos.name


def open_data(config_name: str, dataroot: Path, infos: str, samples: int, leave_out: Sequence[str] = ()) -> LoaderData:
    """The train dataset of a config on these data without some transforms, and at most `samples` keyframes of it.

    Raises:
        ConfigError: the config trains on nothing, or not with a transform that is to be left out.
        DataError: no keyframe has as many sweeps as the pipeline loads, or a file that a transform needs is missing.
    """
    config = load_config(config_name)
    if "train" not in config.get("data", {}):
        raise ConfigError(f"Config {config_name} has no data.train; benchmark one that trains.")
    steps = [step["type"] for step in config.data.train.pipeline]
    for name in leave_out:
        if name not in steps:
            raise ConfigError(f"{config_name} trains without '{name}', so do not leave it out.{suggest(name, steps)}")
    arguments = {
        **config.data.train,
        "dataroot": str(dataroot),
        "infos": str((dataroot / infos).absolute()),
        "class_balanced": False,
        "pipeline": [step for step in config.data.train.pipeline if step["type"] not in leave_out],
    }
    dataset = build_dataset(config, arguments, seed=0, test_mode=False)
    wanted = max((getattr(transform, "sweeps_num", 0) for transform in dataset.pipeline), default=0)
    whole = [index for index in range(len(dataset)) if len(dataset.info(index).sweeps) >= wanted]
    if not whole:
        raise DataError(
            f"No keyframe of {dataroot / infos} lists {wanted} sweeps; prepare the infos with more of them."
        )
    spread = sorted({whole[i * len(whole) // samples] for i in range(samples)})
    samplers = [transform.sampler for transform in dataset.pipeline if hasattr(transform, "sampler")]
    return LoaderData(dataset, tuple(spread), samplers[0].database if samplers else None)
