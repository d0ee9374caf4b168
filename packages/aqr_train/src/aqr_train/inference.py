"""A checkpoint and a split, opened for prediction."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from aqr_core.checkpoint import CONFIG, load_weights
from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.errors import CheckpointError, ConfigError
from aqr_core.models import build_detector
from aqr_core.models.aqr.variant import AQR_BLOCKS
from aqr_train.assembly import build_dataset, check_classes
from aqr_train.blanking import without_sensor
from aqr_train.checkpoints import find_checkpoint
from aqr_train.precision import autocast
from aqr_train.prediction import Progress, predict_to_file
from aqr_train.processes import start_accelerator
from aqr_train.settings import DataSettings, TrainSettings, read_section

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inference:
    """Model in eval mode and dataset in test mode.

    Attributes:
        model: on the accelerator's device.
        dataset: the split.
        accelerator: one process or several.
        batch_size, num_workers: per process.
        precision: of the forward pass.
        open_split: the split anew, with the sensor blanked that it is given.
        without: the sensor that the dataset blanks, if any.
    """

    model: nn.Module
    dataset: Any
    accelerator: Accelerator
    batch_size: int
    num_workers: int
    precision: str
    open_split: Callable[[str | None], Any]
    without: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return bool(self.accelerator.is_main_process)

    @property
    def keyframes(self) -> str:
        """What is predicted, in words: `81 keyframes without camera`."""
        return f"{len(self.dataset)} keyframes" + (f" without {self.without}" if self.without else "")

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the run, for a forward pass of `model`."""
        return autocast(self.accelerator.device, self.precision)

    def failing(self, sensor: str) -> Inference:
        """The same model on the same split without one of `blanking.SENSORS`."""
        return replace(self, dataset=self.open_split(sensor), without=sensor)

    def predict(self, out: Path, progress: Progress | None = None) -> Path:
        """Write the results file."""
        if out.is_dir():  # found out now, not after hours of prediction
            raise ConfigError(f"--out {out} is a folder; name the results file to write in it.")
        return predict_to_file(
            out,
            self.model,
            self.dataset,
            collate,
            self.accelerator,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            progress=progress if self.is_main else None,
            without=self.without,
        )


def open_run(arguments: argparse.Namespace) -> Inference:
    """Config, weights and dataset that the arguments of `aqr predict` name.

    Raises:
        ConfigError: a batch size below 1, loader processes below 0, no `data.val`, or see `without_sensor`.
        CheckpointError: no such checkpoint, or one that does not fit.
    """
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size is {arguments.batch_size}; give at least 1.")
    if arguments.num_workers is not None and arguments.num_workers < 0:
        raise ConfigError(f"--num-workers is {arguments.num_workers}; give 0 to load in this process, or more.")
    checkpoint = find_checkpoint(arguments.checkpoint)
    config = load_config(arguments.config or _own_config(checkpoint), arguments.cfg_options)
    data = read_section(DataSettings, config, "data")
    if data.val is None:
        raise ConfigError("The config has no data.val; add the dataset to predict on.")
    dataset_config = dict(data.val)
    if arguments.split is not None:
        dataset_config["infos"] = str(Path(dataset_config["infos"]).with_name(f"infos_{arguments.split}.jsonl"))
    if arguments.dataroot is not None:
        dataset_config["dataroot"] = arguments.dataroot

    def open_split(without: str | None) -> Any:  # noqa: ANN401 - whatever dataset the config names
        entry = dataset_config if without is None else without_sensor(dataset_config, without)
        return build_dataset(config, entry, seed=0, test_mode=True)

    settings = read_section(TrainSettings, config, "train")
    accelerator = start_accelerator(settings)
    dataset = open_split(arguments.without)
    model: nn.Module = build_detector(config["model"])
    check_classes(model, dataset)
    load_weights(model, checkpoint)
    warn_of_other_aqr(config, checkpoint)
    workers = data.num_workers if arguments.num_workers is None else arguments.num_workers
    return Inference(
        model.to(accelerator.device).eval(),
        dataset,
        accelerator,
        arguments.batch_size,
        workers,
        settings.precision,
        open_split,
        arguments.without,
    )


def warn_of_other_aqr(config: Mapping[str, Any], checkpoint: Path) -> None:
    """Say so where AQR acts otherwise than in the run that trained the weights: v1 and v2 have the same tensors."""
    if not (checkpoint / CONFIG).is_file():
        return
    trained = _aqr_blocks(load_config(checkpoint / CONFIG))
    for name, block in _aqr_blocks(config).items():
        if block != trained[name]:
            logger.warning(
                "%s was trained with %s=%s and the config has %s; leave out the config to predict as trained.",
                checkpoint,
                name,
                trained[name],
                block,
            )


def _aqr_blocks(config: Mapping[str, Any]) -> dict[str, Any]:
    """What AQR does in a config, but for how its attention is computed."""
    head = config.get("model", {}).get("pts_bbox_head", {})
    blocks: dict[str, Any] = {name: head.get(name) for name in (*AQR_BLOCKS, "aqr_preset")}
    bias = blocks["attention_bias_config"]
    if bias is not None:
        blocks["attention_bias_config"] = {key: value for key, value in bias.items() if key != "attention_backend"}
    return blocks


def _own_config(checkpoint: Path) -> Path:
    path = checkpoint / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{checkpoint} carries no {CONFIG}; name the config on the command line.")
    return path
