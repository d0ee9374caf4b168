"""One update: forward, check, backward, clip, optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from aqr_core.errors import NonFiniteError
from aqr_core.structures import Batch


@dataclass(frozen=True)
class StepResult:
    """What one update reports.

    Attributes:
        losses: named scalar tensors of this process, detached.
        grad_norm: global L2 norm of the gradient before clipping.
        skipped: fp16 only: the gradient overflowed, the loss scale was lowered, no update was made.
        samples: samples of all processes together.
    """

    losses: dict[str, Tensor]
    grad_norm: float
    skipped: bool
    samples: int


class TrainStep:
    """Model, optimiser and one batch; knows neither epochs nor files.

    Args:
        model: as prepared by `accelerator`; called with a batch it returns named losses, `loss` their sum.
        optimizer: as prepared by `accelerator`.
        accelerator: precision and gradient reduction.
        grad_clip: largest global L2 norm of the gradient, or None.
        after_update: called after each update, on every process.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        grad_clip: float | None,
        after_update: Callable[[], None] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.accelerator = accelerator
        self.grad_clip = grad_clip
        self.after_update = after_update
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __call__(self, batch: Batch, step: int) -> StepResult:
        """Make update number `step` (counted from 1).

        Raises:
            NonFiniteError: names step, loss term or parameter, and sample tokens.
        """
        losses: dict[str, Tensor] = self.model(batch)
        self._check_losses(losses, batch, step)
        self.accelerator.backward(losses["loss"])
        grad_norm = self._clip(batch, step)
        self.optimizer.step()
        skipped = bool(getattr(self.optimizer, "step_was_skipped", False))
        self.optimizer.zero_grad()
        if self.after_update is not None and not skipped:
            self.after_update()
        detached = {name: loss.detach() for name, loss in losses.items()}
        return StepResult(detached, grad_norm, skipped, len(batch) * self.accelerator.num_processes)

    def _check_losses(self, losses: dict[str, Tensor], batch: Batch, step: int) -> None:
        """All processes learn together whether any of them has a bad loss, so that none waits for another."""
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        bad_here = (~torch.isfinite(values)).any().float()
        if not float(self.accelerator.reduce(bad_here, "sum")):
            return
        terms = [f"{name} is {loss.item()}" for name, loss in losses.items() if not torch.isfinite(loss)]
        # The sum is named only where no single term explains it.
        terms = [term for term in terms if not term.startswith("loss is")] or terms
        reports = gather_object([(terms, batch.tokens)])
        bad_terms = list(dict.fromkeys(term for found, _ in reports for term in found))
        tokens = [token for found, tokens in reports if found for token in tokens]
        raise NonFiniteError(
            f"Step {step} was stopped before its update: {', '.join(bad_terms)} for samples {', '.join(tokens)}; "
            "look at these samples, or lower optimizer.lr or train.grad_clip."
        )

    def _clip(self, batch: Batch, step: int) -> float:
        """Norm of the gradient before clipping; it is the same on every process, and so is what follows from it."""
        self.accelerator.unscale_gradients(self.optimizer)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # In fp16 an overflow is expected now and then: the scaler skips that update and lowers its scale.
        if self.accelerator.scaler is None and not torch.isfinite(norm):
            raise NonFiniteError(self._gradient_message(batch, step, float(norm)))
        if self.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.grad_clip, norm)
        return float(norm)

    def _gradient_message(self, batch: Batch, step: int, grad_norm: float) -> str:
        named = [
            name
            for name, parameter in self.accelerator.unwrap_model(self.model).named_parameters()
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
        ]
        tokens = gather_object(batch.tokens)
        first = f", first in {named[0]}" if named else ""
        return (
            f"Step {step} was stopped before its update: the gradient norm is {grad_norm}{first}, samples "
            f"{', '.join(tokens)}; lower optimizer.lr, or train with train.precision=fp32."
        )
