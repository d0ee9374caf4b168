"""Several processes on this machine that measure what an engine sends and holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_core.errors import AqrError
from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import StateMemory, estimate_states
from aqr_train.estimate.traffic import SMALL, Collective, estimate_traffic

ENGINES = ("DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3", "FSDP2")
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Comparison:
    """An engine's formulas beside what was counted; all in bytes of the process that has most.

    Attributes:
        sharding, world_size, accumulate, size: what the formulas got.
        sent: bytes of whole tensors by kind of collective, those of `SMALL` and more.
        small: number of smaller collectives.
        after_batches: held after each batch of an update.
        lasting: held between updates.
        cuda_peak: of torch's allocator within a step, where there is one.
    """

    sharding: Sharding
    world_size: int
    accumulate: int
    size: ModelSize
    sent: dict[str, int]
    small: int
    after_batches: tuple[int, ...]
    lasting: int
    cuda_peak: int | None

    @property
    def states(self) -> StateMemory:
        """By formula."""
        return estimate_states(self.size, self.world_size, self.sharding, accumulate=self.accumulate)

    @property
    def expected(self) -> dict[str, int]:
        """What `sent` should be, by formula."""
        totals: Counter[str] = Counter()
        collectives: Sequence[Collective] = estimate_traffic(
            self.size, self.world_size, self.sharding, accumulate=self.accumulate
        )
        for collective in collectives:
            totals[collective.kind] += collective.payload
        return dict(totals)


def compare(kind: str, world_size: int, config: str, overrides: Sequence[str], accumulate: int) -> Comparison:
    """Run an engine on so many processes of this machine, and put its figures beside the formulas.

    Raises:
        AqrError: the processes failed; with their last words.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **_launcher(kind)}
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world_size)]
        command = [sys.executable, *(launcher if world_size > 1 else [])]
        command += ["-m", "aqr_train.estimate.measure", folder, config, *overrides, f"train.accumulate={accumulate}"]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise AqrError(
                f"{kind} on {world_size} processes was not done after {_TIMEOUT_S} s; take a smaller config."
            ) from error
        if done.returncode:
            raise AqrError(f"{kind} on {world_size} processes failed ({_last_words(done.stderr)}); run it by itself.")
        ranks: list[dict[str, Any]] = [
            json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("rank*.json"))
        ]
    assert ranks[0]["kind"] == (kind if world_size > 1 else "one process"), ranks[0]["kind"]
    sent: Counter[str] = Counter()
    for collective, payload in ranks[0]["collectives"]:
        if payload >= SMALL:
            sent[collective] += payload
    return Comparison(
        Sharding(ranks[0]["kind"]),
        world_size,
        accumulate,
        ModelSize(**ranks[0]["size"]),
        dict(sent),
        small=sum(payload < SMALL for _, payload in ranks[0]["collectives"]),
        after_batches=tuple(max(column) for column in zip(*(rank["after_batches"] for rank in ranks), strict=True)),
        lasting=max(rank["between_updates"] for rank in ranks),
        cuda_peak=ranks[0]["cuda_peak"],
    )


def _launcher(kind: str) -> dict[str, str]:
    """What a launcher puts into the environment."""
    if kind.startswith("ZeRO-"):
        return {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": kind.removeprefix("ZeRO-")}
    return {"ACCELERATE_USE_FSDP": "true"} if kind == "FSDP2" else {}


def _last_words(errors: str) -> str:
    told = [line for line in errors.splitlines() if "Error: " in line and "ChildFailed" not in line]
    return told[0].strip() if told else "without a word"
