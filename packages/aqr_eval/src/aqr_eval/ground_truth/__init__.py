"""The annotated side of an evaluation, from whatever source."""

from aqr_eval.ground_truth.file import write_ground_truth
from aqr_eval.ground_truth.keyframes import KeyframeTruth, ground_truth_of_keyframes
from aqr_eval.ground_truth.load import load_ground_truth
from aqr_eval.ground_truth.truth import Cameras, GroundTruth

__all__ = [
    "Cameras",
    "GroundTruth",
    "KeyframeTruth",
    "ground_truth_of_keyframes",
    "load_ground_truth",
    "write_ground_truth",
]
