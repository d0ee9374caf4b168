"""The proof, in every run, that frozen weights and statistics are still what they were."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object

from aqr_core.errors import AqrError
from aqr_train.callbacks.base import Callback
from aqr_train.freezing.fingerprint import fingerprints
from aqr_train.freezing.held import held_tensors

if TYPE_CHECKING:
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class FrozenGuard(Callback):
    """Hashes what is frozen at the start of a run and compares at its end, and at both ends of every part of it.

    The hashes of the first start go into checkpoints, so that a resumed run is compared with it and not with itself.
    Listed last: the run is saved before it fails here. What trained is not lost then, the checkpoint shows what
    happened, and no run goes on from it, as its start is compared too.
    """

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}

    def on_fit_start(self, trainer: Trainer) -> None:
        """Take the hashes, or compare with those of the checkpoint; a part may be frozen or freed by a resumed run."""
        now = self._take(trainer)
        self._compare(trainer, now)
        self._hashes = now
        if now:
            logger.info("%d frozen tensors are watched.", len(now))

    def on_stop(self, trainer: Trainer) -> None:
        """Compare."""
        self._compare(trainer, self._take(trainer))

    def on_fit_end(self, trainer: Trainer) -> None:
        """Compare."""
        self._compare(trainer, self._take(trainer))

    def state_dict(self) -> dict[str, Any]:
        """The hashes, by name of the tensor."""
        return {"hashes": self._hashes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._hashes = state.get("hashes", {})

    def _take(self, trainer: Trainer) -> dict[str, int]:
        grouping = trainer.grouping
        held = held_tensors(trainer.plain_model, grouping.frozen_names, grouping.norm_eval)
        return fingerprints(held, trainer.accelerator)

    def _compare(self, trainer: Trainer, now: dict[str, int]) -> None:
        here = [name for name, value in now.items() if self._hashes.get(name, value) != value]
        drifted = sorted(set(gather_object(here)))
        if drifted:
            names = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
            raise AqrError(
                f"Frozen tensors have changed since the run began, seen at step {trainer.state.step}: {names}; find "
                "what writes to them with `aqr verify-frozen`, and start again from the weights of before."
            )
