"""What the head returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from aqr_core.models.aqr.interface import AqrOutput
from aqr_core.models.head.denoising import Denoising

BOX_BRANCHES = ("center", "height", "dim", "rot", "vel")


@dataclass(frozen=True)
class Predictions:
    """Raw predictions; each field holds one (L, B, Q, c) tensor per task, decoder layers first.

    `center` and `height` are already scaled to the range. The names are upstream's and do not say what the channels
    mean: concatenated they are (cx, cy, log dx, log dy, cz, log dz, sin yaw, cos yaw, vx, vy), so `height` is
    log dx and the middle channel of `dim` is cz.
    """

    cls_logits: list[Tensor]
    center: list[Tensor]
    height: list[Tensor]
    dim: list[Tensor]
    rot: list[Tensor]
    vel: list[Tensor]

    @classmethod
    def from_tasks(cls, tasks: Sequence[Mapping[str, Tensor]]) -> Predictions:
        """Gather what the task heads returned."""
        return cls(*([task[name] for task in tasks] for name in ("cls_logits", *BOX_BRANCHES)))

    def box_codes(self, task: int) -> Tensor:
        """(L, B, Q, 10) in the order of the box coder."""
        return torch.cat([getattr(self, name)[task] for name in BOX_BRANCHES], dim=-1)

    def select(self, queries: slice) -> Predictions:
        """The predictions of some queries."""
        names = (item.name for item in fields(Predictions))
        return Predictions(*([part[:, :, queries] for part in getattr(self, name)] for name in names))


@dataclass(frozen=True)
class DenoisingOutput:
    """What the head made of the denoising queries of `plan`."""

    plan: Denoising
    predictions: Predictions


@dataclass(frozen=True)
class HeadOutput(Predictions):
    """Predictions of the matching queries, and what comes along in training and with AQR."""

    denoising: DenoisingOutput | None = field(default=None, kw_only=True)
    aqr: AqrOutput | None = field(default=None, kw_only=True)

    @classmethod
    def from_slots(
        cls, predictions: Predictions, denoising: Denoising | None, aqr: AqrOutput | None = None
    ) -> HeadOutput:
        """Split predictions of denoising slots and queries, in this order."""
        slots = 0 if denoising is None else denoising.num_slots
        noised = None if denoising is None else DenoisingOutput(denoising, predictions.select(slice(slots)))
        return cls(**vars(predictions.select(slice(slots, None))), denoising=noised, aqr=aqr)
