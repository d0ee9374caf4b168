"""Which official scene names a synthetic dataset uses, so that the predefined splits apply to it unchanged."""

from __future__ import annotations

from itertools import cycle

from aqr_core.errors import ConfigError
from aqr_eval.nuscenes.splits import SPLITS

# One validation scene in five, and one among the first two.
_PATTERN = ("train", "val", "train", "train", "train")


def default_version(scenes: int) -> str:
    """v1.0-mini where its names suffice, else v1.0-trainval."""
    return "v1.0-mini" if scenes <= len(SPLITS["mini_train"]) + len(SPLITS["mini_val"]) else "v1.0-trainval"


def choose_scene_names(scenes: int, version: str) -> list[str]:
    """The first `scenes` official names of a version, four training scenes to each validation scene.

    Raises:
        ConfigError: the version has no official splits, or not that many scenes.
    """
    if version.endswith("mini"):
        names = {"train": SPLITS["mini_train"], "val": SPLITS["mini_val"]}
    elif version.endswith("trainval"):
        names = {"train": SPLITS["train"], "val": SPLITS["val"]}
    else:
        raise ConfigError(f"Version {version!r} must end in 'mini' or 'trainval', whose scene names are official.")
    available = sum(map(len, names.values()))
    if not 1 <= scenes <= available:
        raise ConfigError(f"{scenes} scenes do not fit {version}: ask for 1 to {available}.")
    sources = {split: iter(of_split) for split, of_split in names.items()}
    chosen: list[str] = []
    for split in cycle(_PATTERN):
        if len(chosen) == scenes:
            return chosen
        name = next(sources[split], None)
        if name is not None:
            chosen.append(name)
    raise AssertionError("unreachable: the pattern repeats until enough names are chosen")
