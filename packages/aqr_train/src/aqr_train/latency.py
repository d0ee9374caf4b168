"""How long a prediction takes, stage by stage, and what it needs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from aqr_eval import Submission
from aqr_train.benchmarks.environment import device_name
from aqr_train.benchmarks.parts import DECODING, PARTS, REST, observed
from aqr_train.benchmarks.probes import Clock
from aqr_train.benchmarks.tables import Grid
from aqr_train.callbacks.memory import peak_memory
from aqr_train.gathering import gather_on_main
from aqr_train.inference import Inference
from aqr_train.prediction import TO_DEVICE, TO_GLOBAL, WAIT, Progress

STAGES = (WAIT, TO_DEVICE, *PARTS, DECODING, REST, TO_GLOBAL)
WARMUP = 3  # batches in which workers start, kernels are chosen and memory is reserved


@dataclass(frozen=True)
class Spread:
    """Milliseconds that half and nineteen of twenty batches stay within."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Latency:
    """What a prediction took.

    Attributes:
        device: of the main process.
        precision, processes, batch_size: how it ran; batches are per process.
        samples: of all processes.
        took_s: from the first sample asked for to all detections on the main process, warm-up included.
        memory_gib: `peak_gib` of the GPU, or `rss_gib`, of the process that needed most; see `peak_memory`.
        warmup, batches: left out by each process, and timed by all of them.
        stages: in the order of work; those that the model does without are missing.
        batch: a batch from end to end; percentiles of the whole, not sums of percentiles.
    """

    device: str
    precision: str
    processes: int
    batch_size: int
    samples: int
    took_s: float
    memory_gib: dict[str, float]
    warmup: int
    batches: int
    stages: dict[str, Spread]
    batch: Spread

    @property
    def samples_per_s(self) -> float:
        """Throughput of all processes."""
        return self.samples / self.took_s

    @property
    def summary(self) -> str:
        """Throughput and memory in a line."""
        (name, gib), *_ = self.memory_gib.items()
        return f"{self.samples_per_s:.2f} samples/s, {name} {gib:.2f}"

    def grid(self) -> Grid:
        """A row per stage."""
        title = (
            f"{self.device}: batch {self.batch_size}, {self.precision}, {self.processes} process"
            f"{'es' if self.processes > 1 else ''}; {self.batches} batches after {self.warmup} to warm up"
        )
        rows = [
            (name, f"{spread.p50_ms:.1f}", f"{spread.p95_ms:.1f}", f"{100 * spread.p50_ms / self.batch.p50_ms:.1f} %")
            for name, spread in {**self.stages, "whole": self.batch}.items()
        ]
        return Grid(title, ("stage", "p50 ms", "p95 ms", "share"), rows, ("stage",))

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self) | {"samples_per_s": self.samples_per_s}, indent=1) + "\n"


class Watch:
    """Notes what each stage of a prediction takes, batch by batch.

    On CUDA events go between the kernels and are read when a batch is through, where fetching its boxes has waited for
    the device anyway: what is measured runs as it does unmeasured.
    """

    def __init__(self, device: torch.device) -> None:
        self.batches: list[dict[str, float]] = []  # seconds per stage
        self._device = device
        self._clock = Clock(device)

    def mark(self, stage: str) -> None:
        """The stage ends; a batch ends with `TO_GLOBAL`."""
        self._clock.mark(stage)
        if stage == TO_GLOBAL:
            self.batches.append(self._clock.seconds())
            self._clock = Clock(self._device)


def predict_timed(inference: Inference, progress: Progress | None = None) -> tuple[Submission | None, Latency | None]:
    """`inference.predict` and what it took, on the main process; None and None on the others."""
    accelerator = inference.accelerator
    watch, begun_s = Watch(accelerator.device), time.perf_counter()
    with observed(inference.model, watch.mark):
        submission = inference.predict(progress, watch.mark)
    took_s = time.perf_counter() - begun_s
    parts = gather_on_main((watch.batches, peak_memory(accelerator.device)), accelerator)
    if submission is None:
        return None, None
    warmup = min(WARMUP, len(watch.batches) - 1)  # something is left of short splits
    timed = [batch for batches, _ in parts for batch in batches[warmup:]]
    spreads = {stage: _spread([batch.get(stage, 0.0) for batch in timed]) for stage in STAGES if stage in timed[0]}
    return submission, Latency(
        device_name(accelerator.device),
        inference.precision,
        accelerator.num_processes,
        inference.batch_size,
        len(submission.tokens),
        took_s,
        dict([max((memory for _, memory in parts), key=lambda named: named[1])]),
        warmup,
        len(timed),
        spreads,
        _spread([sum(batch.values()) for batch in timed]),
    )


def _spread(seconds: Sequence[float]) -> Spread:
    p50, p95 = np.percentile(seconds, (50, 95))
    return Spread(1000 * float(p50), 1000 * float(p95))
