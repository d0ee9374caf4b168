"""Runs a detector again and again at one batch size and precision, and says what each part took."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from aqr_core.structures import Batch
from aqr_train.benchmarks.parts import DECODING, PARTS, REST, Mark, observed
from aqr_train.benchmarks.probes import Clock, arithmetic, peak_memory
from aqr_train.precision import autocast

LOSSES, BACKWARD, UPDATE = "matching and losses", "backward", "clipping and optimiser"
ROWS = (*PARTS, DECODING, LOSSES, BACKWARD, UPDATE, REST)
Run = Callable[[Mark], None]


@dataclass(frozen=True)
class PartFigures:
    """One row.

    Attributes:
        p50_s, p95_s: percentiles over the runs.
        peak_bytes: most that tensors held meanwhile, over what they held before the run.
        arithmetic: precisions of its matrix products and convolutions, and its fused attention kernels.
    """

    p50_s: float
    p95_s: float
    peak_bytes: int
    arithmetic: str = ""


@dataclass(frozen=True)
class Measurement:
    """What one setting gave.

    Attributes:
        parts: name -> figures, in the order of work.
        whole: the run from end to end; percentiles of the whole, not sums of percentiles.
        failure: why it cannot run here; there are no figures then.
    """

    batch_size: int
    precision: str
    parts: dict[str, PartFigures] = field(default_factory=dict)
    whole: PartFigures | None = None
    failure: str | None = None


def prediction(model: Any, batch: Batch, precision: str) -> Run:  # noqa: ANN401 - a detector
    """`model.predict` as `aqr predict` calls it."""
    precise = autocast(batch.images.device, precision)

    def run(mark: Mark) -> None:
        with precise:
            model.predict(batch)
        mark(REST)

    return run


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, precision: str, grad_clip: float | None
) -> Run:
    """Forward, losses, backward, clipping and update as the trainer does them, on one process."""
    device = batch.images.device
    precise = autocast(device, precision)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def run(mark: Mark) -> None:
        with precise:
            loss = model(batch)["loss"]
        mark(LOSSES)
        scaler.scale(loss).backward()
        mark(BACKWARD)
        scaler.unscale_(optimizer)
        if grad_clip is not None:
            nn.utils.clip_grad_norm_(parameters, grad_clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        mark(UPDATE)

    return run


def measure(
    model: nn.Module, run: Run, batch: Batch, precision: str, *, warmup: int, runs: int, training: bool
) -> Measurement:
    """Warm up, then time `runs` runs, then one run each for memory and arithmetic.

    What the device refuses (an operator without that precision, too little memory) comes back as a failure.
    """
    device = batch.images.device
    empty = Measurement(len(batch), precision)
    if device.type == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return replace(empty, failure="this GPU has no bfloat16 arithmetic")
    grad = torch.enable_grad if training else torch.inference_mode
    try:
        with grad():
            for _ in range(warmup):
                run(lambda part: None)
            timed = [_timed(model, run, device) for _ in range(runs)]

            def marked(mark: Mark) -> None:
                with observed(model, mark):
                    run(mark)

            peak = peak_memory(device, marked)
        with torch.enable_grad() if training else torch.no_grad(), arithmetic() as kinds, observed(model, kinds.mark):
            run(kinds.mark)
    except RuntimeError as error:
        return replace(empty, failure=str(error).strip().splitlines()[0])
    parts = {
        part: PartFigures(
            *_percentiles(times.get(part, 0.0) for times in timed),
            peak_bytes=peak.get(part, 0),
            arithmetic=", ".join(sorted(kinds.found[part], key=len)),
        )
        for part in ROWS
        if part in timed[0]
    }
    whole = PartFigures(*_percentiles(sum(times.values()) for times in timed), peak_bytes=max(peak.values()))
    return replace(empty, parts=parts, whole=whole)


def _timed(model: nn.Module, run: Run, device: torch.device) -> dict[str, float]:
    clock = Clock(device)
    with observed(model, clock.mark):
        run(clock.mark)
    return clock.seconds()


def _percentiles(seconds: Iterable[float]) -> tuple[float, float]:
    p50, p95 = np.percentile(list(seconds), (50, 95))
    return float(p50), float(p95)
