"""The transforms that a pipeline may name; importing this package registers them."""

from aqr_core.data.transforms.filters import ObjectNameFilter, ObjectRangeFilter, PointShuffle, PointsRangeFilter
from aqr_core.data.transforms.image import (
    NormalizeMultiviewImage,
    PadMultiViewImage,
    RandomImageGain,
    ResizeCropFlipImage,
)
from aqr_core.data.transforms.loading import (
    LoadAnnotations3D,
    LoadMultiViewImageFromFiles,
    LoadPointsFromFile,
    LoadPointsFromMultiSweeps,
)
from aqr_core.data.transforms.scene import CustomRandomFlip3D, GlobalRotScaleTransAll

__all__ = [
    "CustomRandomFlip3D",
    "GlobalRotScaleTransAll",
    "LoadAnnotations3D",
    "LoadMultiViewImageFromFiles",
    "LoadPointsFromFile",
    "LoadPointsFromMultiSweeps",
    "NormalizeMultiviewImage",
    "ObjectNameFilter",
    "ObjectRangeFilter",
    "PadMultiViewImage",
    "PointShuffle",
    "PointsRangeFilter",
    "RandomImageGain",
    "ResizeCropFlipImage",
]
