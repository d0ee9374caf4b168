"""`Pack3DDetInputs` with all that `AqrDataPreprocessor` reads."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from mmdet3d.datasets.transforms import Pack3DDetInputs
from mmdet3d.registry import TRANSFORMS

_KEYS = ("points", "img", "gt_bboxes_3d", "gt_labels_3d")
_META_KEYS = ("token", "flip_direction", "pad_size_divisor", "pad_fixed_size", "working", "faults")


@TRANSFORMS.register_module()
class PackAqrInputs(Pack3DDetInputs):
    """Packs whatever of the keys a sample has, with mmdet3d's metadata and some more.

    `Pack3DDetInputs` does as well where no image is mirrored and no sensor blanked.

    Args:
        keys: of the result dict.
        meta_keys: beside mmdet3d's own.
    """

    def __init__(self, keys: Sequence[str] = _KEYS, meta_keys: Sequence[str] = _META_KEYS) -> None:
        theirs = inspect.signature(Pack3DDetInputs).parameters["meta_keys"].default
        super().__init__(tuple(keys), (*theirs, *(key for key in meta_keys if key not in theirs)))
