"""The annotated side of an evaluation, from whatever source."""

from aqr_eval.ground_truth.load import load_ground_truth
from aqr_eval.ground_truth.truth import Cameras, GroundTruth

__all__ = ["Cameras", "GroundTruth", "load_ground_truth"]
