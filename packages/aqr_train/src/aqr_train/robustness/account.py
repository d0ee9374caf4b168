"""What failures did to a whole test set."""

from __future__ import annotations

import math
from collections import defaultdict

from accelerate import Accelerator

from aqr_core.structures import Batch
from aqr_train.gathering import gather_on_main


class Account:
    """Collects the reports of the batches of this process."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, list[float]] = defaultdict(list)

    def note(self, batch: Batch) -> None:
        """Take the reports of a batch."""
        for report in batch.faults:
            for what, number in report.items():
                self._numbers[what].append(number)

    def mean(self, keyframes: int, accelerator: Accelerator) -> dict[str, float]:
        """Mean over all keyframes of all processes, of which the spared count 0; on the main process, else empty.

        The sums are exact, so they do not depend on who saw which keyframe.
        """
        parts = gather_on_main(dict(self._numbers), accelerator)
        names = sorted({what for part in parts for what in part})
        return {
            what: math.fsum(number for part in parts for number in part.get(what, ())) / keyframes for what in names
        }
