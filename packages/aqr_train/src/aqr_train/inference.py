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
from aqr_eval import Submission
from aqr_train.assembly import build_dataset, check_classes
from aqr_train.benchmarks.parts import Mark
from aqr_train.blanking import without_sensor
from aqr_train.checkpoints import find_checkpoint
from aqr_train.precision import autocast
from aqr_train.prediction import Note, Progress, predict
from aqr_train.processes import end_processes, start_accelerator
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
        entry: the dataset as a config names it.
        open_dataset: such an entry -> its dataset in test mode.
        config: resolved.
        checkpoint: folder or file of the weights.
        without: the sensor that the dataset blanks, if any.
    """

    model: nn.Module
    dataset: Any
    accelerator: Accelerator
    batch_size: int
    num_workers: int
    precision: str
    entry: Mapping[str, Any]
    open_dataset: Callable[[Mapping[str, Any]], Any]
    config: Mapping[str, Any]
    checkpoint: Path
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

    def on(self, entry: Mapping[str, Any]) -> Inference:
        """The same model on another dataset, such as `entry` of this one with other transforms.

        Raises:
            ConfigError: see `build_dataset`; or the dataset counts other classes than the model.
        """
        dataset = self.open_dataset(entry)
        check_classes(self.model, dataset)
        return replace(self, entry=entry, dataset=dataset)

    def failing(self, sensor: str) -> Inference:
        """The same model on the same split without one of `blanking.SENSORS`."""
        return replace(self.on(without_sensor(self.entry, sensor)), without=sensor)

    def predict(
        self,
        progress: Progress | None = None,
        mark: Mark = lambda stage: None,
        note: Note = lambda batch: None,
    ) -> Submission | None:
        """The detections of the dataset on the main process, None on the others; see `prediction.predict`."""
        return predict(
            self.model,
            self.dataset,
            collate,
            self.accelerator,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            without=self.without,
            progress=progress if self.is_main else None,
            mark=mark,
            note=note,
        )

    def end(self) -> None:
        """Wait for the main process and close the group; not where a process has failed, whom others would wait for."""
        self.accelerator.wait_for_everyone()
        end_processes(self.accelerator)


def open_run(arguments: argparse.Namespace) -> Inference:
    """Config, weights and dataset that the arguments of `aqr predict` name, but for `--out` and `--latency`.

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
    entry = dict(data.val)
    if arguments.split is not None:
        entry["infos"] = str(Path(entry["infos"]).with_name(f"infos_{arguments.split}.jsonl"))
    if arguments.dataroot is not None:
        entry["dataroot"] = arguments.dataroot
    if arguments.without is not None:
        entry = without_sensor(entry, arguments.without)

    def open_dataset(entry: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever dataset the config names
        return build_dataset(config, entry, seed=0, test_mode=True)

    settings = read_section(TrainSettings, config, "train")
    if arguments.precision is not None:
        settings = replace(settings, precision=arguments.precision)
    accelerator = start_accelerator(settings)
    dataset = open_dataset(entry)
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
        entry,
        open_dataset,
        config,
        checkpoint,
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
