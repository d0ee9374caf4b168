"""The exponential moving average of the weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aqr_train.callbacks.base import Callback

if TYPE_CHECKING:
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class WeightAverage(Callback):
    """Averages every trained parameter in its own precision, float32; listed behind whatever edits the weights.

    After update number n the average moves by 1 - d towards the weights, with d = min(decay, (1 + n) / (10 + n)): the
    first updates count for more, since the average starts at the initial weights (`num_updates` of TensorFlow's
    `tf.train.ExponentialMovingAverage`). Buffers are not averaged: predictions use the model's own.

    The values lie in the place of `model.safetensors` in a checkpoint, so only their count is state.

    Args:
        parameters: the trained ones by name, with the values to start at; the same objects that the optimiser changes.
        decay: between 0 and 1.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._parameters = dict(parameters)
        self._average = [parameter.detach().clone() for parameter in parameters.values()]

    def on_fit_start(self, trainer: Trainer) -> None:
        """Follow the weights to their device."""
        pairs = zip(self._average, self._parameters.values(), strict=True)
        self._average = [value.to(parameter.device) for value, parameter in pairs]

    @torch.no_grad()
    def on_update(self, trainer: Trainer) -> None:
        """Move the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._average, list(self._parameters.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The parameters hold the average inside the block, and what they held before after it; nothing is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def trained_weights(self) -> dict[str, Tensor]:
        """The weights that training goes on with, by name; they stay what they are inside `in_place`."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()}

    def state_dict(self) -> dict[str, Any]:
        """How many updates the average has seen."""
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        if "updates" not in state:
            logger.warning("The checkpoint holds no average of the weights; train.ema starts it at these weights.")
        self.updates = state.get("updates", 0)

    def _exchange(self) -> None:
        for index, parameter in enumerate(self._parameters.values()):
            parameter.data, self._average[index] = self._average[index], parameter.data
