"""From keyframes to batches. Importing this package registers the dataset and the transforms."""

from aqr_core.data import faults, transforms
from aqr_core.data.collate import collate
from aqr_core.data.dataset import NuScenesDataset
from aqr_core.data.frame import Frame
from aqr_core.data.pipeline import Pipeline

__all__ = ["Frame", "NuScenesDataset", "Pipeline", "collate", "faults", "transforms"]
