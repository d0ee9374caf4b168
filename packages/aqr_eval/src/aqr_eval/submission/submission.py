"""The content of a results file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aqr_eval.boxes import Boxes

CAMERA_AND_LIDAR = {
    "use_camera": True,
    "use_lidar": True,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}


@dataclass(frozen=True, eq=False)
class Submission:
    """What a detector found in S samples.

    Attributes:
        tokens: S sample tokens in file order, those without boxes included.
        boxes: all boxes in file order, which decides between equal scores; `sample` indexes `tokens` and never falls.
        meta: the modality flags, unchecked.
        source: what errors about it call it: the file it came from.
    """

    tokens: tuple[str, ...]
    boxes: Boxes
    meta: Mapping[str, Any]
    source: str = "The submission"

    @classmethod
    def of_samples(cls, found: Mapping[str, Boxes], meta: Mapping[str, Any] = CAMERA_AND_LIDAR) -> Submission:
        """Joins what was found sample by sample.

        Args:
            found: sample token -> its boxes (see `detections_to_global`), in the order of the file; every sample of the
                split belongs in it, with no box where nothing was found. `sample` of the boxes is not looked at.
            meta: which sensors were used.
        """
        counts = [len(boxes) for boxes in found.values()]
        joined = Boxes.concatenate(list(found.values()))
        return cls(tuple(found), joined.with_sample(np.repeat(np.arange(len(counts)), counts)), meta)
