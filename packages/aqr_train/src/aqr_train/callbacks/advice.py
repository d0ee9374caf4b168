"""Warnings about AQR while it trains."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from aqr_train.routing.warnings import routing_warnings

logger = logging.getLogger(__name__)


class Advice:
    """Logs what `routing_warnings` finds, each matter once per run instead of at every line.

    Args:
        said: matters that this run has warned about already.
    """

    def __init__(self, said: Iterable[str] = ()) -> None:
        self._said = set(said)

    @property
    def said(self) -> list[str]:
        """Matters that have been warned about."""
        return sorted(self._said)

    def judge(self, matter: str, **figures: Any) -> None:  # noqa: ANN401 - arguments of routing_warnings
        """Hand the figures of one matter to the rules, unless it has been warned about."""
        if matter in self._said:
            return
        for warning in routing_warnings(**figures):
            logger.warning(warning)
            self._said.add(matter)
