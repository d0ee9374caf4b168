"""One keyframe for the benchmark of the model, through the config's own pipeline."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aqr_core.errors import ConfigError
from aqr_core.infos import build_infos
from aqr_core.structures import Sample
from aqr_core.synth import generate
from aqr_train.assembly import build_dataset
from aqr_train.settings import DataSettings, read_section

# Transforms that need a database of cut-out objects, which a synthetic keyframe does not come with.
DATABASE_STEPS = ("UnifiedObjectSample", "ObjectSample")


def synthetic_sample(config: Mapping[str, Any], *, training: bool) -> tuple[Sample, str]:
    """A synthetic keyframe of full size with ten sweeps, and a sentence that says what it is.

    Written by `aqr_core.synth` (preset full: six 1600x900 images, 32 beams) into a temporary folder, and read back
    through `data.val`, or `data.train` without class balance and without steps that need an object database.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder) / "data", scenes=1, seed=0, preset="full", workers=1, keyframes=2)
        (infos,) = build_infos(made.root, made.version, made.root).values()
        dataset_config = _dataset_config(config, training)
        if training:
            dataset_config.pop("class_balanced", None)
            steps = dataset_config.get("pipeline", [])
            dataset_config["pipeline"] = [step for step in steps if step.get("type") not in DATABASE_STEPS]
        dataset_config["infos"] = infos.name
        dataset = build_dataset({"dataroot": made.root}, dataset_config, seed=0, test_mode=not training)
        sample: Sample = dataset[len(dataset) - 1]  # only the second keyframe has sweeps
    return sample, "synthetic keyframe of preset full, seed 0"


def dataset_sample(config: Mapping[str, Any], frame: int, *, training: bool) -> tuple[Sample, str]:
    """Keyframe number `frame` of the config's dataset, and a sentence that says what it is.

    Raises:
        ConfigError: there are fewer keyframes.
    """
    dataset = build_dataset(config, _dataset_config(config, training), seed=0, test_mode=not training)
    if not 0 <= frame < len(dataset):
        raise ConfigError(f"--frame is {frame}, the dataset has {len(dataset)} keyframes; choose one from 0.")
    sample: Sample = dataset[frame]
    return sample, f"keyframe {frame} of {'data.train' if training else 'data.val'} ({sample.token})"


def _dataset_config(config: Mapping[str, Any], training: bool) -> dict[str, Any]:
    data = read_section(DataSettings, config, "data")
    if training:
        return dict(data.train)
    if data.val is None:
        raise ConfigError("The config has no data.val to take a keyframe from; add it.")
    return dict(data.val)
