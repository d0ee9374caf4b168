"""nuScenes detection evaluation without torch and without the devkit."""

from aqr_eval.evaluation import evaluate
from aqr_eval.ground_truth import GroundTruth, load_ground_truth
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.submission import Submission, detections_to_global, load_submission, write_submission

__version__ = "0.1.0"

__all__ = [
    "DetectionMetrics",
    "GroundTruth",
    "Submission",
    "detections_to_global",
    "evaluate",
    "load_ground_truth",
    "load_submission",
    "write_submission",
]
