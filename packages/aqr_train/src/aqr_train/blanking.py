"""Datasets of which one sensor fails: how a detector is tested without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aqr_core.data.faults import with_faults
from aqr_core.errors import ConfigError

_DROPS = {"camera": "CameraDrop", "lidar": "LidarDrop"}
SENSORS = tuple(_DROPS)


def without_sensor(dataset: Mapping[str, Any], sensor: str) -> dict[str, Any]:
    """A copy of a `data` entry whose pipeline blanks one sensor before anything is loaded.

    Images are black and points lie at the origin, as `ModalMask3D` does it; the dataset keeps all its keyframes.

    Args:
        dataset: a test set of a config, with its `pipeline`.
        sensor: one of `SENSORS`.

    Raises:
        ConfigError: another sensor, or one that the pipeline does not load, so that nothing would change.
    """
    if sensor not in _DROPS:
        raise ConfigError(f"There is no sensor {sensor!r} to leave out; give one of {', '.join(SENSORS)}.")
    return with_faults(dataset, [{"type": _DROPS[sensor]}])
