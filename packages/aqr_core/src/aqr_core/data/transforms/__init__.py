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
from aqr_core.data.transforms.modality import ModalMask3D
from aqr_core.data.transforms.object_sample import ObjectSample, UnifiedObjectSample
from aqr_core.data.transforms.scene import CustomRandomFlip3D, GlobalRotScaleTransAll, GlobalRotScaleTransImage

__all__ = [
    "CustomRandomFlip3D",
    "GlobalRotScaleTransAll",
    "GlobalRotScaleTransImage",
    "LoadAnnotations3D",
    "LoadMultiViewImageFromFiles",
    "LoadPointsFromFile",
    "LoadPointsFromMultiSweeps",
    "ModalMask3D",
    "NormalizeMultiviewImage",
    "ObjectNameFilter",
    "ObjectRangeFilter",
    "ObjectSample",
    "PadMultiViewImage",
    "PointShuffle",
    "PointsRangeFilter",
    "RandomImageGain",
    "ResizeCropFlipImage",
    "UnifiedObjectSample",
]
