"""The transforms of a config, in order, and until which epoch each of them takes part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS, build

Transform = Callable[[Frame], None]


@dataclass(frozen=True)
class _Step:
    transform: Transform
    until_epoch: int | None

    @property
    def name(self) -> str:
        return getattr(self.transform, "__name__", type(self.transform).__name__)

    def takes_part(self, epoch: int) -> bool:
        return self.until_epoch is None or epoch < self.until_epoch


class Pipeline:
    """Applies transforms to a frame.

    A step may carry `until_epoch=E`: from epoch E on, counted from 0, it is left out. CMT's 15 + 5 schedule, which
    pastes no objects in the last five of twenty epochs, is `until_epoch=15`; with `until_epoch=0` a step is never
    used, and the files it would read are not asked for.

    Args:
        steps: config dicts of transforms, or callables on a `Frame`.

    Raises:
        ConfigError: an unknown transform or argument, or an `until_epoch` that is no epoch.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any] | Transform]) -> None:
        self._steps = [_build_step(step) for step in steps]

    def __call__(self, frame: Frame, epoch: int = 0) -> None:
        """Change the frame in place, as in this epoch."""
        for step in self._steps:
            if step.takes_part(epoch):
                step.transform(frame)

    def __iter__(self) -> Iterator[Transform]:
        """The transforms of the first epoch."""
        return (step.transform for step in self._steps if step.takes_part(0))

    def open_files(self, dataroot: Path, classes: tuple[str, ...], split: str) -> None:
        """Let the transforms that read files of their own open them, so that what is missing is known at the start.

        Such a transform has a method `open_files(dataroot, classes, split)`.
        """
        for transform in self:
            if hasattr(transform, "open_files"):
                transform.open_files(dataroot, classes, split)

    @property
    def switches(self) -> dict[int, list[str]]:
        """Epoch -> names of the transforms that are left out from then on, ascending."""
        found: dict[int, list[str]] = {}
        for step in self._steps:
            if step.until_epoch is not None:
                found.setdefault(step.until_epoch, []).append(step.name)
        return dict(sorted(found.items()))


def _build_step(step: Mapping[str, Any] | Transform) -> _Step:
    if not isinstance(step, Mapping):
        if not callable(step):
            raise ConfigError(
                f"A pipeline step is {step!r}; give the dict of a transform, with its type, or a callable."
            )
        return _Step(step, None)
    arguments = dict(step)
    until = arguments.pop("until_epoch", None)
    if until is not None and (not isinstance(until, int) or until < 0):
        raise ConfigError(
            f"until_epoch of {step.get('type')} is {until!r}; give the first epoch without it, counted from 0, or None."
        )
    return _Step(build(arguments, TRANSFORMS), until)
