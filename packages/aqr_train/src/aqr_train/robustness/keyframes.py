"""The beginning of a test set as a test set of its own, for a quick look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aqr_core.errors import ConfigError
from aqr_core.structures import Sample


class FirstKeyframes:
    """The first keyframes of a dataset in test mode; what they look up in earlier keyframes stays the same.

    Args:
        dataset: in test mode.
        count: how many.

    Raises:
        ConfigError: it holds fewer.
    """

    def __init__(self, dataset: Any, count: int) -> None:  # noqa: ANN401 - whatever dataset the config names
        if count > len(dataset):
            raise ConfigError(
                f"--first {count} asks for more than the {len(dataset)} keyframes of the split; ask for less."
            )
        self._dataset = dataset
        self.infos = _FirstInfos(dataset.infos, count)
        self.dataroot = dataset.dataroot
        self.classes = dataset.classes

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self._dataset[index]
        return sample

    def info(self, index: int) -> Any:  # noqa: ANN401 - aqr_core.infos.Info
        """What is known about a keyframe."""
        return self._dataset.info(index)

    def set_epoch(self, epoch: int) -> None:
        """Select the augmentations of this pass."""
        self._dataset.set_epoch(epoch)


class _FirstInfos:
    """As much of infos as ground truth is read from."""

    def __init__(self, infos: Any, count: int) -> None:  # noqa: ANN401 - aqr_core.infos, either kind
        self._infos = infos
        self._count = count
        self.header = infos.header
        self.path = infos.path

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return (self._infos[index] for index in range(self._count))
