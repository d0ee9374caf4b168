"""The processes of a run: what the launcher asked for, and an accelerator that is just that."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import DistributedType

from aqr_core.errors import ConfigError
from aqr_train.settings import TrainSettings

LAUNCHED_AS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
PATIENCE = timedelta(minutes=60)
_FSDP = "ACCELERATE_USE_FSDP"


@dataclass(frozen=True)
class Scheme:
    """What the launcher asks for, read from its environment.

    Attributes:
        kind: 'plain' (one process or DDP), 'zero' or 'fsdp2'.
        world_size: processes.
        on_cpu: no GPU is there, or none is to be used.
    """

    kind: str
    world_size: int
    on_cpu: bool

    @classmethod
    def asked(cls, environment: Mapping[str, str] | None = None) -> Scheme:
        """Of this process; `os.environ` unless a test gives another."""
        env = os.environ if environment is None else environment
        kind = "zero" if _yes(env, "ACCELERATE_USE_DEEPSPEED") else "fsdp2" if _yes(env, _FSDP) else "plain"
        on_cpu = _yes(env, "ACCELERATE_USE_CPU") or not torch.cuda.is_available()
        return cls(kind, int(env.get("WORLD_SIZE", "1")), on_cpu)


def engine_kind(scheme: Scheme, accelerator: Accelerator) -> str:
    """'one process', 'DDP', 'ZeRO-1', 'ZeRO-2', 'ZeRO-3' or 'FSDP2'."""
    if scheme.kind == "zero":
        plugin: Any = accelerator.state.deepspeed_plugin
        return f"ZeRO-{plugin.zero_stage}"
    if scheme.kind == "fsdp2":
        return "FSDP2"
    return "DDP" if accelerator.num_processes > 1 else "one process"


def start_accelerator(settings: TrainSettings, environment: Mapping[str, str] | None = None) -> Accelerator:
    """An accelerator whose processes, kind, ZeRO stage and precision are what was asked for.

    Accelerate starts something else without a word in several cases (one process instead of several on CPU hosts
    without MPI, DDP instead of DeepSpeed or FSDP on a CPU, float32 instead of fp16); each is an error here. It computes
    in float32 for Accelerate: the engines open autocast themselves.

    Args:
        settings: precision and the options of DDP.
        environment: what the launcher set; `os.environ` unless a test gives another.

    Raises:
        ConfigError: what was asked for cannot be had, and what to type instead.
    """
    env = os.environ if environment is None else environment
    asked = Scheme.asked(env)
    _check_launch(asked, settings, env)
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=settings.find_unused_parameters)]
    # Without a named backend DeepSpeed opens a group of its own on a CPU, in which Accelerate sees one process on every
    # rank. The timeout is how long processes wait for the main one to score a validation or to write a checkpoint.
    backend = "gloo" if asked.kind == "zero" and asked.on_cpu else None
    handlers.append(InitProcessGroupKwargs(backend=backend, timeout=PATIENCE))
    if asked.kind == "zero" and asked.on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else it warns on every process that it found no GPU
        _leave_exchange_to_gloo()
    # With DeepSpeed, asking for the CPU would turn it into plain DDP.
    cpu = asked.on_cpu and asked.kind != "zero"
    with _without_fsdp():  # which torch does for us, see engines.sharded
        accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=handlers)
    _check_started(asked, accelerator, env)
    return accelerator


def end_processes(accelerator: Accelerator) -> None:
    """Close trackers and the process group; the caller has let go of the trainer and its model.

    DDP holds the group. Threads of gloo that live on while Python ends abort the process now and then, and the launcher
    then kills the others, which may still be writing.
    """
    accelerator.free_memory()
    gc.collect()  # trainer and callbacks name each other
    accelerator.end_training()


def _check_launch(asked: Scheme, settings: TrainSettings, env: Mapping[str, str]) -> None:
    if "MASTER_ADDR" in env and "WORLD_SIZE" not in env:
        raise ConfigError(
            "The launcher was asked for several processes and started one, as `accelerate launch` does on CPU hosts "
            "without MPI; use the file two_cpus.yaml of aqr_train/launchers with --config_file, or torchrun."
        )
    if settings.precision == "fp16" and asked.on_cpu:
        raise ConfigError("train.precision=fp16 needs a GPU (a CPU would run float32 instead); use bf16 or fp32.")
    launched = env.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if launched not in ("no", LAUNCHED_AS[settings.precision]):
        raise ConfigError(
            f"The launcher asks for mixed precision '{launched}', the config for '{settings.precision}'; set "
            "train.precision, which is the one that counts."
        )
    if asked.kind == "zero":
        missing = [name for name in ("deepspeed", "transformers") if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"The launcher asks for DeepSpeed, but {missing[0]} is not installed; run "
                "`pip install 'aqr-train[deepspeed]'` or launch without DeepSpeed."
            )
        if _yes(env, "ACCELERATE_USE_CPU"):
            raise ConfigError(
                "ACCELERATE_USE_CPU turns DeepSpeed into plain DDP; unset it (DeepSpeed finds the CPU by itself where "
                "there is no GPU; CUDA_VISIBLE_DEVICES= hides one)."
            )
        stage = env.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "")
        if "ACCELERATE_DEEPSPEED_CONFIG_FILE" not in env and stage not in ("1", "2", "3"):
            raise ConfigError(
                f"The launcher asks for DeepSpeed with ZeRO stage '{stage}'; use stage 1, 2 or 3, or DDP."
            )


def _check_started(asked: Scheme, accelerator: Accelerator, env: Mapping[str, str]) -> None:
    kind = accelerator.distributed_type
    several = DistributedType.MULTI_CPU if asked.on_cpu else DistributedType.MULTI_GPU
    expected = {DistributedType.DEEPSPEED} if asked.kind == "zero" else {several}
    if asked.kind != "zero" and asked.world_size == 1:
        expected.add(DistributedType.NO)  # torchrun starts a group of one
    if kind not in expected or accelerator.num_processes != asked.world_size:
        wanted = " or ".join(sorted(item.value for item in expected))
        raise ConfigError(
            f"{asked.world_size} processes were asked for ({wanted}), Accelerate runs {accelerator.num_processes} "
            f"({kind.value}); use a file of aqr_train/launchers with --config_file, or torchrun."
        )
    if asked.kind == "fsdp2" and kind == DistributedType.NO:
        raise ConfigError("FSDP2 needs a process group and there is none; start it with `accelerate launch`.")
    if asked.kind == "zero":
        plugin: Any = accelerator.state.deepspeed_plugin
        running = str(plugin.zero_stage)
        in_file = "ACCELERATE_DEEPSPEED_CONFIG_FILE" in env
        stage = running if in_file else env.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "")
        if stage != running:
            raise ConfigError(f"ZeRO stage {stage} was asked for and stage {running} runs; name it in one place.")
        if running not in ("1", "2", "3"):
            raise ConfigError(f"The DeepSpeed file asks for ZeRO stage {running}; use stage 1, 2 or 3, or DDP.")
        half = [name for name in ("fp16", "bf16") if plugin.deepspeed_config.get(name, {}).get("enabled") is True]
        if half:
            raise ConfigError(
                f"The DeepSpeed config enables '{half[0]}', which rounds the weights themselves; remove it and set "
                "train.precision, which keeps them in float32."
            )


def _leave_exchange_to_gloo() -> None:
    """Keep DeepSpeed from compiling an exchange through shared memory when it starts on a CPU.

    It takes the better part of a minute, again for every environment, and a run that is killed meanwhile leaves a lock
    for which all later ones wait without end.
    """
    from deepspeed import ops

    ops.__compatible_ops__["deepspeed_shm_comm"] = False


@contextmanager
def _without_fsdp() -> Iterator[None]:
    value = os.environ.pop(_FSDP, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[_FSDP] = value


def _yes(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() in ("1", "true", "yes")
