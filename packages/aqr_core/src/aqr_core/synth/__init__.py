"""A synthetic nuScenes: one world, several sensors, written in the format that nuScenes tools read."""

from aqr_core.synth.generate import SyntheticDataset, generate
from aqr_core.synth.presets import PRESETS, Preset

__all__ = ["PRESETS", "Preset", "SyntheticDataset", "generate"]
