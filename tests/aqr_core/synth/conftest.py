from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from aqr_core.synth import PRESETS, SyntheticDataset, generate
from aqr_core.synth.sampling import sample_world
from aqr_core.synth.world import World

SEED = 7
SCENES = 3


@dataclass(frozen=True)
class TinyDataset:
    dataset: SyntheticDataset
    worlds: tuple[World, ...]  # what the files were recorded from, one per scene


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> TinyDataset:
    """Three scenes of preset tiny and the worlds behind them."""
    dataset = generate(tmp_path_factory.mktemp("synth") / "tiny", SCENES, SEED, workers=1)
    children = np.random.SeedSequence(SEED).spawn(SCENES)
    worlds = tuple(sample_world(PRESETS["tiny"], np.random.default_rng(child)) for child in children)
    return TinyDataset(dataset, worlds)
