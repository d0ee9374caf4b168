"""Why a step had to stop: its batches once more under `FirstNonFinite`, one of them saved, and one sentence.

Nothing of this runs while all is finite. `NonFiniteReport` is collective: sharded weights are gathered in a forward
pass, so processes whose batches are fine repeat theirs too, and all raise the same sentence.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import Tensor

from aqr_core.errors import NonFiniteError
from aqr_core.structures import Batch
from aqr_train.engines import Engine
from aqr_train.first_nonfinite import FirstNonFinite
from aqr_train.saved_batch import save_batch

logger = logging.getLogger(__name__)
_WIDER = {"fp32": "", "bf16": ", or train with train.precision=fp32", "fp16": ", or train with train.precision=bf16"}


@dataclass(frozen=True)
class MicroBatch:
    """What is kept of a forward pass until its update.

    Attributes:
        batch: on the device.
        losses: named scalars, detached.
        random: `generator_states` before the forward pass.
    """

    batch: Batch
    losses: dict[str, Tensor]
    random: list[Tensor]

    @property
    def bad_terms(self) -> list[str]:
        """Losses in words; the sum only where no single term explains it."""
        bad = {name: loss.item() for name, loss in self.losses.items() if not torch.isfinite(loss)}
        terms = {name: value for name, value in bad.items() if name != "loss"} or bad
        return [f"{name} is {value}" for name, value in terms.items()]

    @property
    def bad_inputs(self) -> list[str]:
        """Tensors that are not finite where they must be, in words; an unknown velocity is NaN by right."""
        tensors = {
            "points": self.batch.points,
            "images": list(self.batch.images),
            "lidar2img": list(self.batch.lidar2img),
            "gt_boxes": [boxes[:, :7] for boxes in self.batch.gt_boxes],
        }
        return [
            f"{name} of sample {token}"
            for name, parts in tensors.items()
            for token, part in zip(self.batch.tokens, parts, strict=True)
            if not part.isfinite().all()
        ]


@dataclass(frozen=True)
class Finding:
    """What one process found in one of its micro-batches.

    Attributes:
        rank: of the process.
        micro_batch: its number in the step.
        tokens: samples.
        terms: bad losses in words.
        inputs: bad tensors of the batch in words.
        forward, backward: see `FirstNonFinite`.
    """

    rank: int
    micro_batch: int
    tokens: list[str]
    terms: list[str]
    inputs: list[str]
    forward: str | None
    backward: str | None


def generator_states(device: torch.device) -> list[Tensor]:
    """Of torch's generators that a forward pass on this device draws from; three microseconds on a CPU."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


class NonFiniteReport:
    """Looks into a step that stopped before its update.

    Args:
        engine: as the step left it.
        seen: the micro-batches of the step.
        step: its number.
        folder: where batches are saved.
    """

    def __init__(self, engine: Engine, seen: list[MicroBatch], step: int, folder: Path) -> None:
        self._engine = engine
        self._seen = seen
        self._step = step
        self._folder = folder
        self._bad_gradients = engine.bad_parameters()  # DeepSpeed has cleared its gradients and knows none
        self._bad_weights = [name for name, value in engine.whole_parameters() if not value.isfinite().all()]

    def of_loss(self) -> NonFiniteError:
        """Some loss of some process is not finite."""
        findings = [finding for finding in self._look() if finding.terms]
        terms = dict.fromkeys(term for finding in findings for term in finding.terms)
        places = [finding.forward for finding in findings if finding.forward]
        return self._error(", ".join(terms), findings, places)

    def of_gradient(self, grad_norm: float) -> NonFiniteError:
        """All losses are finite, the gradient is not."""
        what = f"the gradient norm is {grad_norm}"
        scale = self._engine.loss_scale
        if scale is not None:
            scale.value *= 2  # that of this step; the engine has halved it since
            what = (
                f"the fp16 gradient overflowed {scale.skipped} times in a row, at last with loss scale {scale.value:g}"
            )
        if self._bad_gradients:
            what += f", first in {self._bad_gradients[0]}"
        findings = self._look()
        findings = [finding for finding in findings if finding.backward] or findings
        places = [finding.backward for finding in findings if finding.backward]
        return self._error(what, findings, places)

    def _look(self) -> list[Finding]:
        """One finding of every process, about its worst micro-batch; the same list on all of them."""
        found = []
        for number, micro in enumerate(self._seen):
            _set_generators(micro.random)
            with FirstNonFinite(self._engine.plain_model) as first:
                self._engine.run(micro.batch, last=False)
            found.append(
                Finding(
                    self._engine.accelerator.process_index,
                    number,
                    micro.batch.tokens,
                    micro.bad_terms,
                    micro.bad_inputs,
                    first.in_forward,
                    first.in_backward,
                )
            )
        worst = max(found, key=lambda finding: (bool(finding.terms), finding.backward is not None))
        findings: list[Finding] = gather_object([worst])
        return findings

    def _error(self, what: str, findings: list[Finding], places: list[str]) -> NonFiniteError:
        inputs = [words for finding in findings for words in finding.inputs]
        wider = _WIDER[self._engine.settings.precision]
        action = f"look at these samples, or lower optimizer.lr or train.grad_clip{wider}"
        if self._bad_weights:
            cause = f"weights were not finite before this step, {_some(self._bad_weights)}"
            action = "go on from an earlier checkpoint with a lower optimizer.lr"
        elif inputs:
            cause = f"the input is not finite, {_some(inputs)}"
            action = "mend these samples or leave them out"
        elif places:
            cause = f"the first value that is not finite is {_some(list(dict.fromkeys(places)))}"
        else:
            cause = "a second pass over the batch was finite"
        tokens = ", ".join(token for finding in findings for token in finding.tokens)
        return NonFiniteError(
            f"Step {self._step} was stopped before its update: {what} for samples {tokens}; {cause}; "
            f"{self._save(findings)}; {action}."
        )

    def _save(self, findings: list[Finding]) -> str:
        """Save the batch of every finding on its process; where they are, in words."""
        rank, saved = self._engine.accelerator.process_index, []
        for finding in findings:
            if finding.rank == rank:
                micro, path = self._seen[finding.micro_batch], self._folder / f"step_{self._step}_rank_{rank}.pt"
                losses = {name: loss.cpu() for name, loss in micro.losses.items()}
                about = {"step": self._step, "rank": rank, "losses": losses, "random": micro.random}
                try:
                    save_batch(path, micro.batch, about)
                    saved.append(str(path))
                except OSError as error:  # what was found must be told even where the disk is full
                    logger.error("The batch could not be saved in %s: %s.", path, error)
        paths: list[str] = gather_object(saved)
        if not paths:
            return "the batch could not be saved"
        return f"the batch is saved in {', '.join(paths)}, which aqr_train.saved_batch.load_saved_batch reads"


def _set_generators(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)


def _some(words: list[str]) -> str:
    """The first, and how many more there are."""
    return words[0] if len(words) == 1 else f"{words[0]} and {len(words) - 1} more"
