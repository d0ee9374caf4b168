"""Memory that a forward pass keeps for the backward pass, measured by running it on the CPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from aqr_core.data import collate
from aqr_core.structures import Batch, Sample
from aqr_train.benchmarks.parts import observed
from aqr_train.precision import autocast

LOSSES = "matching and losses"


@dataclass(frozen=True)
class Activations:
    """Bytes kept for the backward pass, by part of the detector.

    Attributes:
        fixed: for any batch: weights in the precision of autocast, codes of positions.
        per_sample: more for every sample.
    """

    fixed: dict[str, int]
    per_sample: dict[str, int]

    def of_batch(self, samples: int) -> dict[str, int]:
        """Bytes by part for a batch of so many samples."""
        return {part: self.fixed[part] + samples * bytes_ for part, bytes_ in self.per_sample.items()}


class _Kept:
    """Counts each storage that autograd saves once; the tensors themselves are let go, as no backward pass follows."""

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        held = [*model.parameters(), *model.buffers(), batch.images, *batch.points]
        # A weak reference keeps the address from being used again, not the memory.
        self._known = {reference.cdata: reference for reference in map(_reference, held)}
        self._pending = 0
        self.by_part: dict[str, int] = defaultdict(int)

    def pack(self, tensor: Tensor) -> None:
        reference = _reference(tensor)
        if reference.cdata not in self._known:
            self._known[reference.cdata] = reference
            self._pending += tensor.untyped_storage().nbytes()

    def mark(self, part: str) -> None:
        self.by_part[part] += self._pending
        self._pending = 0


def _reference(tensor: Tensor) -> Any:  # noqa: ANN401 - torch leaves it untyped
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _no_backward(_: None) -> Tensor:
    raise AssertionError("activations are counted, not kept")


def kept_by_part(model: nn.Module, batch: Batch, precision: str) -> dict[str, int]:
    """Bytes of every storage that one training forward pass saves for its backward pass, once each.

    Parameters, buffers and the batch itself are not counted; neither is what recomputed blocks (`with_cp`) make again
    in the backward pass, which needs room for the largest of them besides.
    """
    kept = _Kept(model, batch)
    unpack: Callable[[Any], Any] = _no_backward
    with (
        torch.autograd.graph.saved_tensors_hooks(kept.pack, unpack),
        observed(model, kept.mark),
        autocast(batch.images.device, precision),
    ):
        model(batch)
        kept.mark(LOSSES)
    return dict(kept.by_part)


def measure_activations(model: nn.Module, sample: Sample, precision: str) -> Activations:
    """Two forward passes, of one sample and of two, give what is fixed and what grows.

    Args:
        model: in training mode, with frozen parts and recomputing set as in training.
        sample: through the training pipeline.
        precision: 'fp32', 'bf16' or 'fp16', under autocast as in training.
    """
    one = kept_by_part(model, collate([sample]), precision)
    two = kept_by_part(model, collate([sample] * 2), precision)
    grows = {part: two[part] - one[part] for part in one}
    return Activations({part: one[part] - grows[part] for part in one}, grows)
