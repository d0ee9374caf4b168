"""How much tensors change, counted over all processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from aqr_train.freezing.fingerprint import bit_pattern
from aqr_train.freezing.shards import local_part


@dataclass(frozen=True)
class Change:
    """Of one tensor.

    Attributes:
        changed: some bit differs, on some process.
        largest: absolute difference of a number; infinite where a number is not finite.
    """

    changed: bool
    largest: float


class Snapshot:
    """A copy of the parameters and buffers of a model, each process of what it holds."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before = {name: local_part(tensor).clone() for name, tensor in state_of(model).items()}

    def changes(self, accelerator: Accelerator) -> dict[str, Change]:
        """What is different now, by name; collective."""
        now = state_of(self._model)
        rows = [_difference(before, local_part(now[name])) for name, before in self._before.items()]
        table: list[list[float]] = accelerator.reduce(torch.stack(rows).to(accelerator.device), "max").tolist()
        return {name: Change(bool(bits), most) for name, (bits, most) in zip(self._before, table, strict=True)}


def state_of(model: nn.Module) -> Mapping[str, Tensor]:
    """Parameters and buffers by name, those included that checkpoints leave out."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _difference(before: Tensor, after: Tensor) -> Tensor:
    """(2,) float64 on the CPU: whether a bit differs, and the largest absolute difference."""
    if before.numel() == 0 or torch.equal(bit_pattern(before), bit_pattern(after)):
        return torch.zeros(2, dtype=torch.float64)
    largest = float((after.double() - before.double()).abs().max())
    return torch.tensor([1.0, largest if largest == largest else torch.inf], dtype=torch.float64)
