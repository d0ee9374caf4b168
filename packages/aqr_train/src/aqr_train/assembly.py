"""From a resolved config to objects; the one place where the parts of a run are wired."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import nn

from aqr_core import __version__ as core_version
from aqr_core.checkpoint import LoadReport, load_weights
from aqr_core.config import dump
from aqr_core.data import collate
from aqr_core.errors import CheckpointError, ConfigError
from aqr_core.models import build_detector, init_weights
from aqr_core.registry import DATASETS, build
from aqr_train import __version__ as train_version
from aqr_train.callbacks import AqrMonitor, AqrPictures, Callback, Checkpointer, Evaluator, ProgressBar, ScalarLogger
from aqr_train.callbacks.best import BestCheckpoint
from aqr_train.callbacks.ema import WeightAverage
from aqr_train.callbacks.frozen import FrozenGuard
from aqr_train.callbacks.profiler import Profiler
from aqr_train.callbacks.skips import SkippedUpdates
from aqr_train.callbacks.trackers import Trackers
from aqr_train.checkpoints import find_checkpoint, load_trained_weights, read_trainer_state
from aqr_train.conflicts import check_conflicts
from aqr_train.engines import build_engine
from aqr_train.evaluation import DatasetEvaluation
from aqr_train.gradient_checkpointing import set_gradient_checkpointing
from aqr_train.loader import steps_per_epoch
from aqr_train.param_groups import Grouping, build_grouping
from aqr_train.pictures.scene import ScenePixels, has_weights
from aqr_train.processes import Scheme, engine_kind
from aqr_train.schedule import build_schedule
from aqr_train.seeding import seed_all
from aqr_train.settings import DataSettings, OptimizerSettings, TrainSettings, read_section
from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


def build_dataset(
    config: Mapping[str, Any],
    dataset: Mapping[str, Any],
    *,
    seed: int,
    test_mode: bool,
) -> Any:  # noqa: ANN401 - whatever dataset the config names
    """The dataset that a `data` entry describes.

    The top-level `dataroot` holds for datasets that name none; a relative `infos` lies below it.
    """
    arguments = dict(dataset)
    dataroot = arguments.pop("dataroot", None) or config.get("dataroot")
    defaults: dict[str, Any] = {"seed": seed, "test_mode": test_mode}
    if dataroot is not None:
        defaults["dataroot"] = dataroot
        if "infos" in arguments:
            arguments["infos"] = str(Path(dataroot) / arguments["infos"])
    return build(arguments, DATASETS, **defaults)


def build_trainer(
    config: Mapping[str, Any],
    accelerator: Accelerator,
    work_dir: Path,
    console: Console,
    *,
    checkpoint: Path | None = None,
    profile: bool = False,
    load_initial: bool = True,
) -> Trainer:
    """Everything a run needs, on the accelerator's device, ready to `fit`.

    Args:
        config: resolved.
        accelerator: see `start_accelerator`.
        work_dir: where the run writes.
        console: of the progress bar.
        checkpoint: folder whose run goes on, in the place of `load_from`.
        profile: record a trace of the first steps.
        load_initial: False leaves the weights random where no run goes on.
    """
    seed = _seed(config)
    data = read_section(DataSettings, config, "data")
    settings = read_section(TrainSettings, config, "train")
    scheme = Scheme.asked()
    check_conflicts(config, settings, engine_kind(scheme, accelerator), accelerator.device.type)
    state = None if checkpoint is None else read_trainer_state(checkpoint)  # before anything is logged of the run
    seed_all(seed)  # the same initial weights on every process
    samples_per_step = data.batch_size * settings.accumulate * accelerator.num_processes
    load_initial = load_initial and checkpoint is None
    model, grouping = build_model(config, load_initial=load_initial, samples_per_step=samples_per_step)
    set_gradient_checkpointing(model, settings.gradient_checkpointing)
    average = _load_checkpoint(model, settings, checkpoint)
    # From here on dropout draws its own numbers on each process.
    seed_all(seed + accelerator.process_index)
    dataset = build_dataset(config, data.train, seed=seed, test_mode=False)
    if len(dataset) == 0:
        raise ConfigError("data.train holds no sample; check its infos.")
    check_classes(model, dataset)
    callbacks: list[Callback] = [BestCheckpoint(), AqrMonitor(), ScalarLogger(), ProgressBar(console)]
    if settings.trackers:
        callbacks.append(Trackers(settings.trackers, config))
    if profile:
        callbacks.append(Profiler())
    if settings.precision == "fp16":
        callbacks.append(SkippedUpdates())
    if settings.picture_every is not None and has_weights(model):
        callbacks.append(AqrPictures(ScenePixels.of(dataset)))
    if average is not None:
        callbacks.append(average)  # behind AqrMonitor, which edits the weights after an update
    callbacks.append(Checkpointer(dump(config), _meta(dataset, seed)))  # stores what the ones before it have counted
    if data.val is not None and settings.val_every is not None:
        callbacks.append(Evaluator(_evaluation(config, model, accelerator, data, settings, seed)))
    callbacks.append(FrozenGuard())  # behind the checkpointer: what it refuses is saved
    total_steps = settings.total_steps(steps_per_epoch(len(dataset), samples_per_step))
    trainer = Trainer(
        build_engine(scheme.kind, accelerator, model, grouping.make_optimizer, settings, data.batch_size),
        dataset,
        collate,
        grouping=grouping,
        schedule=build_schedule(config.get("schedule", {}), total_steps),
        data=data,
        settings=settings,
        callbacks=callbacks,
        work_dir=work_dir,
        seed=seed,
        average=average,
    )
    if checkpoint is not None and state is not None:
        trainer.resume(checkpoint, state)
    return trainer


def _load_checkpoint(model: nn.Module, settings: TrainSettings, checkpoint: Path | None) -> WeightAverage | None:
    """The weights of a run that goes on; the average starts at what its checkpoint publishes."""
    if checkpoint is not None:
        load_weights(model, checkpoint)
    average = None
    if settings.ema is not None:
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        average = WeightAverage(trained, settings.ema)
    if checkpoint is not None and load_trained_weights(model, checkpoint) and average is None:
        logger.warning("The run goes on with the trained weights, without their average; set train.ema to keep it.")
    return average


def _meta(dataset: object, seed: int) -> dict[str, Any]:
    """What identifies a checkpoint beside step and epoch."""
    return {
        "classes": list(getattr(dataset, "classes", ())),
        "seed": seed,
        "packages": {"aqr_core": core_version, "aqr_train": train_version, "torch": torch.__version__},
    }


def _evaluation(
    config: Mapping[str, Any],
    model: nn.Module,
    accelerator: Accelerator,
    data: DataSettings,
    settings: TrainSettings,
    seed: int,
) -> DatasetEvaluation:
    assert data.val is not None
    dataset = build_dataset(config, data.val, seed=seed, test_mode=True)
    check_classes(model, dataset)
    return DatasetEvaluation(
        dataset,
        collate,
        accelerator,
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        precision=settings.precision,
    )


def build_model(
    config: Mapping[str, Any], *, load_initial: bool = True, samples_per_step: int | None = None
) -> tuple[nn.Module, Grouping]:
    """Detector with frozen parts set and weights of `load_from` unless told otherwise, and its parameter groups.

    Args:
        config: resolved.
        load_initial: False leaves the weights as the constructors draw them.
        samples_per_step: scales the rate where the config asks for that.

    Raises:
        ConfigError: no model section, or parts that are frozen and have no weights to be frozen at.
        CheckpointError: see `check_initial_weights`.
    """
    if "model" not in config:
        raise ConfigError("The config has no 'model' section; inherit one from _base_ or add it.")
    settings = read_section(OptimizerSettings, config, "optimizer")
    model: nn.Module = build_detector(config["model"])
    lr = settings.lr if samples_per_step is None else settings.scaled_lr(samples_per_step)
    grouping = build_grouping(model, lr, settings.weight_decay, settings.param_groups, settings.betas)
    if load_initial:
        _load_initial(model, config.get("load_from"), grouping)
    return model, grouping


def _load_initial(model: nn.Module, load_from: str | None, grouping: Grouping) -> None:
    given = init_weights(model)
    if load_from:
        path = find_checkpoint(load_from)
        check_initial_weights(path, load_weights(model, path, strict=False), grouping, given)
        return
    frozen = sorted(grouping.frozen_names - given)
    if frozen:
        raise ConfigError(
            f"The config freezes {frozen[0]} and {len(frozen) - 1} more parameters, which would stay random because "
            "load_from is not set; add --cfg-options load_from=CHECKPOINT or freeze nothing (`aqr verify-frozen` also "
            "takes --random)."
        )


def check_initial_weights(path: Path, report: LoadReport, grouping: Grouping, given: Set[str] = frozenset()) -> None:
    """Refuse what `load_from` cannot mean, a file that fits in part for no known reason; log what it gave.

    Args:
        path: the file.
        report: of loading it.
        grouping: says what is frozen.
        given: parameters whose values came from another file before.

    Raises:
        CheckpointError: unexplained keys, or a frozen parameter would stay at its random initial value.
    """
    unexplained = report.unexplained()
    if unexplained:
        raise CheckpointError(
            f"{path} does not fit the model, {unexplained}; choose the checkpoint of this model, or correct the names."
        )
    held = grouping.frozen_names - given
    untrained = [name for keys in report.absent.values() for name in keys if name in held]
    if untrained:
        raise CheckpointError(
            f"{path} lacks {untrained[0]} and {len(untrained) - 1} more frozen parameters, which would stay random; "
            "choose a checkpoint that holds them or do not freeze them."
        )
    report.log(path)


def check_classes(model: nn.Module, dataset: object) -> None:
    """Refuse a model whose scores count other classes than the labels of the dataset, or count them in another order.

    Raises:
        ConfigError: both say what they count, and it differs.
    """
    names: tuple[str, ...] | None = getattr(getattr(model, "pts_bbox_head", None), "class_names", None)
    classes: tuple[str, ...] | None = getattr(dataset, "classes", None)
    if names is not None and classes is not None and names != classes:
        raise ConfigError(
            f"The model scores the classes {', '.join(names)}, but the dataset counts {', '.join(classes)}; make "
            "class_names of model.pts_bbox_head.tasks and `classes` of the datasets equal."
        )


def _seed(config: Mapping[str, Any]) -> int:
    seed = config.get("seed", 0)
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed is {seed!r}; give a whole number from 0.")
    return seed
