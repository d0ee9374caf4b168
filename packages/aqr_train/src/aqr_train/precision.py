"""Arithmetic of the forward pass, and the loss scale that half precision needs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Autocast over the whole model, which itself keeps some parts in float32 (docs/precision.md)."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


@dataclass
class LossScale:
    """Factor on an fp16 loss: as large as the gradients stand (Micikevicius et al., arXiv 1710.03740, section 3.2).

    The policy and the numbers are those of `torch.amp.GradScaler`; it is ours because one policy must serve every
    engine, and DeepSpeed's own would bring half-precision weights with it.

    Attributes:
        value: a power of two, so that scaling rounds nothing.
        good_updates: updates since the factor last changed.
        skipped: updates in a row that were not made.
        total_skipped: of the whole run.
    """

    value: float = 2.0**16
    good_updates: int = 0
    skipped: int = 0
    total_skipped: int = 0
    growth_interval: int = 2000

    def update(self, applied: bool) -> None:
        """Half of it after a gradient that was not finite, twice after `growth_interval` that were."""
        if not applied:
            self.value, self.good_updates = self.value / 2, 0
            self.skipped, self.total_skipped = self.skipped + 1, self.total_skipped + 1
            return
        self.good_updates, self.skipped = self.good_updates + 1, 0
        if self.good_updates == self.growth_interval:
            self.value, self.good_updates = self.value * 2, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers for the checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.__dict__.update(state)
