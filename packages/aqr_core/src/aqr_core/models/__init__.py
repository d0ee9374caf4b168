"""The detector and its parts.

Letters in shapes: B batch, N cameras, P points, V voxels, C channels, H W image grid, Y X bird's-eye-view grid (Z its
height), T tokens (Y*X + N*H*W), Q queries, L decoder layers, K classes or detections.

Importing this package registers every part in `MODELS` under its upstream name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from aqr_core.models import backbones, head, necks, voxel  # noqa: F401 - registers the parts
from aqr_core.models.cmt import CmtDetector
from aqr_core.models.foreign import init_weights
from aqr_core.registry import MODELS, build

__all__ = ["CmtDetector", "build_detector", "build_head", "init_weights"]


def build_detector(cfg: Mapping[str, Any]) -> CmtDetector:
    """Build the detector from `cfg.model`; `type` may be left out.

    Raises:
        ConfigError: unknown type or argument, or an incomplete branch.
    """
    return build({"type": "CmtDetector", **cfg}, MODELS)


def build_head(cfg: Mapping[str, Any]) -> nn.Module:
    """Build the head alone from `cfg.model.pts_bbox_head`."""
    return build(cfg, MODELS)
