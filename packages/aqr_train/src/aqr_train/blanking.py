"""Datasets of which one sensor fails: how a detector is tested without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aqr_core.errors import ConfigError

# Sensor -> (what `ModalMask3D` calls it, the transform that loads it).
_SENSORS = {"camera": ("image", "LoadMultiViewImageFromFiles"), "lidar": ("points", "LoadPointsFromFile")}
SENSORS = tuple(_SENSORS)


def without_sensor(dataset: Mapping[str, Any], sensor: str) -> dict[str, Any]:
    """A copy of a `data` entry whose pipeline blanks one sensor before anything is loaded.

    Images are black and points lie at the origin, as `ModalMask3D` does it; the dataset keeps all its keyframes.

    Args:
        dataset: a test set of a config, with its `pipeline`.
        sensor: one of `SENSORS`.

    Raises:
        ConfigError: another sensor, or one that the pipeline does not load, so that nothing would change.
    """
    if sensor not in _SENSORS:
        raise ConfigError(f"There is no sensor {sensor!r} to leave out; give one of {', '.join(SENSORS)}.")
    modality, loader = _SENSORS[sensor]
    steps = dataset.get("pipeline", [])
    if not any(step.get("type") == loader for step in steps):
        raise ConfigError(
            f"The pipeline has no {loader}, so without {sensor} nothing would change; choose the other sensor, or a "
            "config that uses both."
        )
    mask = {"type": "ModalMask3D", "mode": "test", "mask_modal": modality}
    return {**dataset, "pipeline": [mask, *steps]}
