"""Boxes, frames and the records that flow between the parts."""

from aqr_core.structures.sample import Batch, Detections, Sample

__all__ = ["Batch", "Detections", "Sample"]
