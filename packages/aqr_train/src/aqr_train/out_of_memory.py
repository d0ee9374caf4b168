"""Out of memory as one sentence: what was in use, what there is, and the switches that help most."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from aqr_core.errors import AqrError
from aqr_train.callbacks.memory import peak_memory
from aqr_train.engines import Engine
from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import estimate_states

if TYPE_CHECKING:
    from aqr_train.trainer import Trainer

GIB = 2**30
# How torch, its libraries and the system say it where there is no class for it.
_WORDS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "killed by signal: Killed")
_SWITCHES = 3


class OutOfMemoryError(AqrError):
    """The device or the host has less memory than the run needs."""


class Switch(NamedTuple):
    """A change of the config or the launch.

    Attributes:
        saves: GiB, an estimate to sort by; also said where `known`.
        words: what to type.
    """

    saves: float
    words: str
    known: bool = False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, the allocator of the CPU, or a worker of the loader had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


def explain(error: BaseException, trainer: Trainer) -> OutOfMemoryError:
    """The error to show instead; for this process alone, the launcher ends the others.

    Args:
        error: see `is_out_of_memory`.
        trainer: during `fit`.
    """
    device, data, settings = trainer.accelerator.device, trainer.data, trainer.settings
    peak, capacity = peak_memory(device)[1], _capacity(device)
    in_loader = "DataLoader worker" in str(error)
    images = "" if trainer.batch is None else f", images of {'x'.join(map(str, trainer.batch.images.shape[1:]))}"
    best = sorted(loader_switches(trainer) if in_loader else switches(trainer, peak), key=lambda s: -s.saves)
    advice = "; ".join(
        f"{switch.words} (saves about {switch.saves:.2f} GiB)" if switch.known and switch.saves > 0.01 else switch.words
        for switch in best[:_SWITCHES]
    )
    where = "a worker of the loader" if in_loader else f"{device} of process {trainer.accelerator.process_index}"
    return OutOfMemoryError(
        f"Step {trainer.state.step + 1} ran out of memory on {where}, which had used {peak:.2f} of {capacity:.2f} GiB"
        f"{_others(device)}, with data.batch_size={data.batch_size}{images} and train.precision={settings.precision}; "
        f"what helps most: {advice}."
    )


def explain_start(device: torch.device) -> OutOfMemoryError:
    """The error where model and optimiser do not fit, before the first step."""
    return OutOfMemoryError(
        f"There was no memory left on {device} for model and optimiser, which had used {peak_memory(device)[1]:.2f} of "
        f"{_capacity(device):.2f} GiB{_others(device)}; free the device, choose another with CUDA_VISIBLE_DEVICES, or "
        "share the weights out over more processes with ZeRO-3."
    )


def switches(trainer: Trainer, peak: float) -> list[Switch]:
    """What this run has not switched yet.

    Activations are what the peak holds beyond weights, gradients and moments; the step would have held more, so what a
    switch saves of them is rather more than said. On a CPU they contain the libraries: nothing is said in numbers.
    """
    data, settings, engine = trainer.data, trainer.settings, trainer.engine
    on_gpu, sharding = trainer.accelerator.device.type == "cuda", Sharding.of(engine)
    states = _states(engine, sharding)
    activations = max(peak - states, 0.0)
    found = [
        Switch(0.0, "freezing more of the model in optimizer.param_groups, which keeps no activations of it"),
        Switch(0.0, "smaller images in the pipelines of data.train and data.val"),
    ]
    if data.batch_size > 1:
        smaller = max(size for size in range(1, data.batch_size) if data.batch_size % size == 0)
        times = data.batch_size // smaller
        words = f"data.batch_size={smaller} with train.accumulate={times * settings.accumulate} (the same update)"
        found.append(Switch(activations * (1 - 1 / times), words, known=on_gpu))
    parts = [part for part in engine.plain_model.modules() if getattr(part, "with_cp", None) is False]
    if any(parameter.requires_grad for part in parts for parameter in part.parameters()):
        words = "train.gradient_checkpointing=True, which computes activations twice instead of keeping them"
        found.append(Switch(0.6 * activations, words))
    if settings.precision == "fp32":
        found.append(Switch(0.4 * activations, "train.precision=bf16, up to half of the activations"))
    if engine.kind == "DDP":
        saved = states - _states(engine, Sharding("ZeRO-2"))
        found.append(Switch(saved, "a launch with ZeRO-2, which shares out gradients and moments", known=True))
    if engine.kind.startswith("ZeRO") and on_gpu and not sharding.offload:
        saved = states - _states(engine, replace(sharding, offload=True))
        found.append(Switch(saved, "a launch that offloads the optimiser to the host", known=True))
    return [switch for switch in found if switch.saves >= 0]


def loader_switches(trainer: Trainer) -> list[Switch]:
    """What lowers the memory of the loader's workers, in the order of its effect."""
    workers, batch_size = trainer.data.num_workers, trainer.data.batch_size
    return [
        Switch(2.0, f"data.num_workers below {workers}"),
        Switch(1.0, f"data.batch_size below {batch_size} with a higher train.accumulate"),
        Switch(0.0, "fewer processes on this host"),
    ]


def _capacity(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB


def _others(device: torch.device) -> str:
    """What the rest of the world holds on a GPU."""
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    held = (total - free - torch.cuda.memory_reserved(device)) / GIB
    return f" (other processes and CUDA itself hold {held:.2f})"


def _states(engine: Engine, sharding: Sharding) -> float:
    """GiB of weights, gradients and moments on each device, were they spread like that."""
    size = ModelSize.of(engine.plain_model)
    return estimate_states(size, int(engine.accelerator.num_processes), sharding).device / GIB
