"""Gradient checkpointing: activations are computed again in the backward pass rather than kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


def recompute(function: Callable[..., Result], *inputs: Any, of: Iterable[nn.Module]) -> Result:  # noqa: ANN401
    """`function(*inputs)`, which runs once more in the backward pass, with the same random numbers and autocast.

    Losses, gradients and buffers are bit for bit those of a plain call. Non-reentrant, so neither the inputs nor all of
    the parameters need a gradient.

    Args:
        function: must do the same again, up to running statistics of batch norms.
        inputs: its arguments.
        of: the modules that it uses.
    """
    norms = [module for part in of for module in part.modules() if isinstance(module, _BatchNorm)]

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _StatisticsKept(norms)

    result: Result = checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)
    return result


class _StatisticsKept(AbstractContextManager[None]):
    """Batch norms move copies of their running statistics: the forward pass has moved the real ones already.

    Switching the statistics off instead would change what a norm keeps for its backward pass, and restoring them would
    count as a change of a tensor that a backward pass needs.
    """

    def __init__(self, norms: list[_BatchNorm]) -> None:
        self._norms = norms
        self._real: list[dict[str, Tensor | None]] = []

    def __enter__(self) -> None:
        self._real = [dict(norm._buffers) for norm in self._norms]
        for norm in self._norms:
            norm._buffers.update({name: None if x is None else x.clone() for name, x in norm._buffers.items()})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for norm, real in zip(self._norms, self._real, strict=True):
            norm._buffers.update(real)
