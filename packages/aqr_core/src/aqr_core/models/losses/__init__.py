"""Matching and training losses."""

from aqr_core.models.losses.criterion import DetectionCriterion
from aqr_core.models.losses.matcher import HungarianAssigner3D
from aqr_core.models.losses.sensor_loss import SensorLoss

__all__ = ["DetectionCriterion", "HungarianAssigner3D", "SensorLoss"]
