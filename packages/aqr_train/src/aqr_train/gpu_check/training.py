"""Training runs on the device: precisions, ZeRO and FSDP2 on one GPU."""

from __future__ import annotations

import importlib.util
import math
import shlex
from collections.abc import Iterator
from functools import partial

from aqr_train.gpu_check.check import Check, NotRunError, Outcome
from aqr_train.gpu_check.workshop import FULL, TINY, Workshop, train_words

STEPS = {TINY: 20, FULL: 6}
_CLOSE = {"bf16": 0.03, "fp16": 0.01}  # of the loss of one batch; one matching that flips is far below
_SAME = 1e-3  # engines add in another order
_ENGINES = {
    "ZeRO-1": "zero1.yaml",
    "ZeRO-2": "zero2.yaml",
    "ZeRO-3": "zero3.yaml",
    "FSDP2": "fsdp2.yaml",
}


def training_checks() -> Iterator[Check]:
    """Steps per precision and config, half precision against float32, and every engine on one GPU."""
    for config, steps in STEPS.items():
        for precision in ("fp32", "bf16", "fp16"):
            yield Check(
                f"{precision} training, {config}",
                "losses finite, at least half of the updates made",
                _command(config, precision),
                partial(_trains, config, precision, steps),
            )
        for precision, tolerance in _CLOSE.items():
            yield Check(
                f"{precision} against fp32, {config}",
                f"loss of the first step within {tolerance:.0%}",
                _command(config, precision),
                partial(_agrees, config, precision, steps, tolerance),
            )
    for name, launcher in _ENGINES.items():
        yield Check(
            f"{name} on one GPU, {TINY}",
            f"losses of the first three steps within {_SAME:.1%} of the plain run's",
            _command(TINY, "fp32", launcher),
            partial(_same_on, launcher),
        )


def _trains(config: str, precision: str, steps: int, workshop: Workshop) -> Outcome:
    run = workshop.train(config, precision, steps)
    figure = (
        f"loss {run.losses[0]:.3f} to {run.losses[-1]:.3f}, {run.skipped} of {steps} updates skipped, "
        f"{run.step_s:.3f} s per step, {run.peak_gib:.2f} GiB"
    )
    whole = len(run.losses) == steps and all(map(math.isfinite, run.losses))
    return Outcome(figure, whole and run.skipped <= steps // 2)


def _agrees(config: str, precision: str, steps: int, tolerance: float, workshop: Workshop) -> Outcome:
    loss = workshop.train(config, precision, steps).losses[0]
    exact = workshop.train(config, "fp32", steps).losses[0]
    return Outcome(f"{loss:.4f} and {exact:.4f}: {loss / exact - 1:+.2%}", abs(loss - exact) <= tolerance * abs(exact))


def _same_on(launcher: str, workshop: Workshop) -> Outcome:
    if launcher.startswith("zero"):
        need("deepspeed", "transformers")
    losses = workshop.train(TINY, "fp32", STEPS[TINY], launcher).losses[:3]
    plain = workshop.train(TINY, "fp32", STEPS[TINY]).losses[:3]
    worst = max(abs(own - other) / abs(other) for own, other in zip(losses, plain, strict=True))
    return Outcome(f"largest difference {worst:.2e}", worst <= _SAME)


def need(*packages: str) -> None:
    """Raises `NotRunError` that names the first package which is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise NotRunError(f"{package} is not installed")


def _command(config: str, precision: str, launcher: str | None = None) -> str:
    return shlex.join(train_words(config, precision, STEPS[config], launcher))
