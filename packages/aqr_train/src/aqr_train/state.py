"""Where a run stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class TrainState:
    """Position of a run; everything else that resumes is derived from it or stored beside it.

    Attributes:
        step: optimiser updates made.
        epoch: passes over the data completed.
        batch: updates made in the current pass.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0

    def advance(self, steps_per_epoch: int) -> None:
        """One update was made; the last batch of a pass opens the next one."""
        self.step += 1
        self.batch += 1
        if self.batch == steps_per_epoch:
            self.epoch, self.batch = self.epoch + 1, 0

    def rescale(self, samples_before: int, samples_now: int, steps_per_epoch: int) -> None:
        """Go on with another number of samples per step behind the samples already used.

        Where fewer than a batch of them are left the next pass begins: an empty rest would never end.
        """
        self.batch = self.batch * samples_before // samples_now
        if self.batch >= steps_per_epoch:
            self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Plain numbers for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, int]) -> TrainState:
        """Inverse of `state_dict`."""
        return cls(**values)
