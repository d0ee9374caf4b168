"""From a config to an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aqr_train.assembly import build_model
from aqr_train.benchmarks.model_input import synthetic_sample
from aqr_train.estimate.activations import Activations, measure_activations
from aqr_train.estimate.projection import Bandwidth, project
from aqr_train.estimate.report import Estimate
from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import estimate_states
from aqr_train.estimate.traffic import estimate_traffic
from aqr_train.gradient_checkpointing import set_gradient_checkpointing
from aqr_train.seeding import seed_all
from aqr_train.settings import DataSettings, TrainSettings, read_section


def estimate(
    config: Mapping[str, Any],
    *,
    name: str,
    world_size: int,
    stage: int = 0,
    fsdp: bool = False,
    offload: bool = False,
    with_activations: bool = True,
    bandwidth: tuple[float, float],
    compute_s: float | None = None,
) -> Estimate:
    """Estimate the run of a resolved config.

    Args:
        config: its batch size, accumulation and precision are those of the run.
        name: for the report.
        world_size: processes.
        stage: of ZeRO, or 0.
        fsdp: FSDP2 instead.
        offload: ZeRO's optimiser on the host.
        with_activations: run two forward passes on the CPU to measure them.
        bandwidth: bytes per second within a node and between nodes.
        compute_s: of an update, without exchange.

    Raises:
        ConfigError: a combination that does not exist, or a bad config.
    """
    sharding = Sharding.chosen(world_size, stage, fsdp=fsdp, offload=offload)
    settings = read_section(TrainSettings, config, "train")
    data = read_section(DataSettings, config, "data")
    seed_all(0)
    model, grouping = build_model(config, load_initial=False)
    set_gradient_checkpointing(model, settings.gradient_checkpointing)
    size = ModelSize.of(model)
    activations: Activations | None = None
    if with_activations:
        sample, _ = synthetic_sample(config, training=True)
        grouping.train_mode(model)
        activations = measure_activations(model, sample, settings.precision)
    kept = 0 if activations is None else sum(activations.of_batch(data.batch_size).values())
    return Estimate(
        config=name,
        world_size=world_size,
        batch_size=data.batch_size,
        accumulate=settings.accumulate,
        precision=settings.precision,
        size=size,
        sharding=sharding,
        states=estimate_states(size, world_size, sharding, accumulate=settings.accumulate),
        traffic=estimate_traffic(size, world_size, sharding, accumulate=settings.accumulate),
        activations=activations,
        projection=project(size, sharding, kept, accumulate=settings.accumulate, bandwidth=Bandwidth(*bandwidth)),
        compute_s=compute_s,
    )
