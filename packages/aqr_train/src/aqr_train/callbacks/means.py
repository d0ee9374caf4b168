"""Means over the steps between two lines of the log."""

from __future__ import annotations

import re
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from aqr_train.callbacks.base import Scalars
from aqr_train.step import StepResult

_LAYER = re.compile(r"d(\d+)\.(.+)")


def loss_name(term: str) -> str:
    """Where a term of the criterion is recorded: `train/<term>`, of inner decoder layers `train/<term>/layer<i>`.

    The terms of one name so stand side by side in TensorBoard; that of the last layer has no number, as upstream.
    """
    inner = _LAYER.fullmatch(term)
    return f"train/{inner[2]}/layer{inner[1]}" if inner else f"train/{term}"


class StepMeans:
    """Sums of this process since the last line; a term that a step lacks counts as 0 there, so that terms add up."""

    def __init__(self) -> None:
        self.steps = 0
        self.skipped = 0  # fp16: steps without update
        self._sums: dict[str, float] = {}
        self._grad_norm = 0.0  # sum over the updates
        self._pending: list[tuple[tuple[str, ...], Tensor]] = []  # still on the device

    def add(self, result: StepResult) -> None:
        """Count a step; it does not wait for the device."""
        self._pending.append((tuple(result.losses), torch.stack([loss.float() for loss in result.losses.values()])))
        self.steps += 1
        if result.skipped:
            self.skipped += 1
        else:
            self._grad_norm += result.grad_norm

    def gather(self) -> Scalars:
        """Means over steps and processes, the same on every process; collective. The gradient's is over updates."""
        parts: list[dict[str, float]] = gather_object([self._collect()])
        names = dict.fromkeys(name for part in parts for name in part)
        scalars = {
            loss_name(name): sum(part.get(name, 0.0) for part in parts) / (len(parts) * self.steps) for name in names
        }
        if self.steps > self.skipped:
            scalars["train/grad_norm"] = self._grad_norm / (self.steps - self.skipped)
        return scalars

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "sums": dict(self._collect()),
            "steps": self.steps,
            "skipped": self.skipped,
            "grad_norm": self._grad_norm,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._sums, self._pending = dict(state["sums"]), []
        self.steps, self.skipped, self._grad_norm = state["steps"], state["skipped"], state["grad_norm"]

    def _collect(self) -> dict[str, float]:
        """The sums, with one wait for the device for each step that is still there."""
        for terms, values in self._pending:
            for term, value in zip(terms, values.tolist(), strict=True):
                self._sums[term] = self._sums.get(term, 0.0) + value
        self._pending = []
        return self._sums
