"""One update: forward and backward of its micro-batches, a common check, and the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from accelerate.utils import gather_object
from torch import Tensor

from aqr_core.errors import NonFiniteError
from aqr_core.structures import Batch
from aqr_train.engines import Engine


@dataclass(frozen=True)
class StepResult:
    """What one update reports.

    Attributes:
        losses: named scalar tensors of this process, means over the micro-batches.
        grad_norm: global L2 norm of the gradient before clipping.
        skipped: fp16 only: the gradient overflowed, the loss scale was lowered, no update was made.
        samples: samples of all processes together.
        stop: some process was told to stop.
    """

    losses: dict[str, Tensor]
    grad_norm: float
    skipped: bool
    samples: int
    stop: bool = False


class TrainStep:
    """Engine and one update; knows neither epochs nor files.

    Args:
        engine: model and optimiser.
        after_update: called after each update, on every process.
        told_to_stop: asked once per step, on every process.
    """

    def __init__(
        self,
        engine: Engine,
        after_update: Callable[[], None] = lambda: None,
        told_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.engine = engine
        self._after_update = after_update
        self._told_to_stop = told_to_stop

    def __call__(self, batches: Iterable[Batch], step: int) -> StepResult:
        """Make update number `step` (counted from 1) from `settings.accumulate` micro-batches.

        Raises:
            NonFiniteError: names step, loss term or parameter, and sample tokens; nothing was updated, on any process.
        """
        seen: list[tuple[Batch, dict[str, Tensor]]] = []
        accumulate = self.engine.settings.accumulate
        for batch in batches:
            seen.append((batch, self.engine.run(batch, last=len(seen) + 1 == accumulate)))
        assert len(seen) == accumulate, f"{len(seen)} micro-batches came for an update of {accumulate}"
        stop = self._agree(seen, step)
        update = self.engine.update()
        if update.applied:
            self._after_update()
        elif self.engine.loss_scale is None:
            raise NonFiniteError(self._gradient_message(seen, step, update.grad_norm))
        losses = {name: torch.stack([terms[name] for _, terms in seen]).mean() for name in seen[0][1]}
        samples = sum(len(batch) for batch, _ in seen) * self.engine.accelerator.num_processes
        return StepResult(losses, update.grad_norm, not update.applied, samples, stop)

    def _agree(self, seen: list[tuple[Batch, dict[str, Tensor]]], step: int) -> bool:
        """One reduction per step: all processes learn of a bad loss or of a request to stop in any of them."""
        values = torch.stack([loss.float() for _, terms in seen for loss in terms.values()])
        flags = torch.stack([(~values.isfinite()).any().float(), values.new_tensor(float(self._told_to_stop()))])
        bad, stop = self.engine.accelerator.reduce(flags, "sum").tolist()
        if bad:
            raise NonFiniteError(self._loss_message(seen, step))
        return bool(stop)

    def _loss_message(self, seen: list[tuple[Batch, dict[str, Tensor]]], step: int) -> str:
        reports = [
            ([f"{name} is {loss.item()}" for name, loss in terms.items() if not torch.isfinite(loss)], batch.tokens)
            for batch, terms in seen
        ]
        gathered = [report for report in gather_object(reports) if report[0]]
        terms = list(dict.fromkeys(term for found, _ in gathered for term in found))
        # The sum is named only where no single term explains it.
        terms = [term for term in terms if not term.startswith("loss is")] or terms
        tokens = [token for _, found in gathered for token in found]
        return (
            f"Step {step} was stopped before its update: {', '.join(terms)} for samples {', '.join(tokens)}; "
            "look at these samples, or lower optimizer.lr or train.grad_clip."
        )

    def _gradient_message(self, seen: list[tuple[Batch, dict[str, Tensor]]], step: int, grad_norm: float) -> str:
        named = self.engine.bad_parameters()
        tokens = gather_object([token for batch, _ in seen for token in batch.tokens])
        first = f", first in {named[0]}" if named else ""
        return (
            f"Step {step} was stopped before its update: the gradient norm is {grad_norm}{first}, samples "
            f"{', '.join(tokens)}; lower optimizer.lr, or train with train.precision=fp32."
        )
