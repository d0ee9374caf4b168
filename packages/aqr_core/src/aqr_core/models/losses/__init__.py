"""Matching and training losses."""

from aqr_core.models.losses.criterion import DetectionCriterion
from aqr_core.models.losses.matcher import HungarianAssigner3D

__all__ = ["DetectionCriterion", "HungarianAssigner3D"]
