"""Which scenes belong to which split: the official lists, and custom ones from `<dataroot>/<version>/splits.json`."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from aqr_eval.nuscenes.errors import DataError


def _official_splits() -> dict[str, tuple[str, ...]]:
    numbers = json.loads(files(__package__).joinpath("splits.json").read_text())
    return {split: tuple(f"scene-{number:04d}" for number in scenes) for split, scenes in numbers.items()}


SPLITS: dict[str, tuple[str, ...]] = _official_splits()

_VERSION_ENDING = {"train": "trainval", "val": "trainval", "test": "test", "mini_train": "mini", "mini_val": "mini"}


def scenes_of(split: str, version: str, dataroot: str | Path | None = None) -> tuple[str, ...]:
    """Scene names of a split, official ones first, else those of the dataset's own `splits.json`.

    The list is the split's definition: a partial dataset need not hold all of its scenes.

    Raises:
        DataError: the split does not belong to this version, or no such split exists.
    """
    if split in SPLITS:
        ending = _VERSION_ENDING[split]
        if not version.endswith(ending):
            raise DataError(
                f"Split {split!r} belongs to versions that end in {ending!r}, not to {version!r}: "
                f"correct the version or choose another split ({_names_for(version)})."
            )
        return SPLITS[split]
    if dataroot is None:
        raise DataError(
            f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}, or give the dataroot of a custom one."
        )
    return _custom_split(split, Path(dataroot) / version / "splits.json")


def is_official(split: str) -> bool:
    """Whether the split is one of the benchmark's own."""
    return split in SPLITS


def _custom_split(split: str, path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise DataError(f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}, or define it in {path}.")
    try:
        custom = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON ({error}): write {{name: [scene names]}}.") from error
    if not isinstance(custom, dict) or split not in custom:
        known = ", ".join(custom) if isinstance(custom, dict) else "none"
        raise DataError(
            f"Unknown split {split!r}: {path} defines {known}; add {split!r} to it as a list of scene names."
        )
    scenes = custom[split]
    if not isinstance(scenes, list) or not all(isinstance(scene, str) for scene in scenes):
        raise DataError(f"Split {split!r} in {path} must be a list of scene names, not {scenes!r:.80}.")
    return tuple(scenes)


def _names_for(version: str) -> str:
    return ", ".join(split for split, ending in _VERSION_ENDING.items() if version.endswith(ending)) or "a custom one"
