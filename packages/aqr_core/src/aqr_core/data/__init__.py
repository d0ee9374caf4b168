"""From keyframes to batches. Importing this package registers the dataset and the transforms."""

from aqr_core.data import transforms
from aqr_core.data.collate import collate
from aqr_core.data.dataset import NuScenesDataset
from aqr_core.data.frame import Frame

__all__ = ["Frame", "NuScenesDataset", "collate", "transforms"]
