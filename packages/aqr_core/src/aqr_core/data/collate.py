"""Samples -> batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aqr_core.errors import ConfigError
from aqr_core.structures.sample import Batch, Sample


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack what has one shape and list the rest; the `collate_fn` of a DataLoader.

    Raises:
        ConfigError: images of different sizes.
    """
    shapes = {tuple(sample.images.shape) for sample in samples}
    if len(shapes) > 1:
        raise ConfigError(f"Samples of one batch have images of shapes {sorted(shapes)}; add ResizeCropFlipImage.")
    return Batch(
        tokens=[sample.token for sample in samples],
        points=[sample.points for sample in samples],
        images=torch.stack([sample.images for sample in samples]),
        lidar2img=torch.stack([sample.lidar2img for sample in samples]),
        gt_boxes=[sample.gt_boxes for sample in samples],
        gt_labels=[sample.gt_labels for sample in samples],
        seeds=[sample.seed for sample in samples],
        working=torch.stack([sample.working for sample in samples]),
        faults=[sample.faults for sample in samples],
    )
