"""nuScenes results: what they hold, their two file formats, and how a detector's boxes become one."""

from aqr_eval.submission.detections import boxes_to_global, detections_to_global
from aqr_eval.submission.files import load_submission, write_submission
from aqr_eval.submission.submission import Submission

__all__ = ["Submission", "boxes_to_global", "detections_to_global", "load_submission", "write_submission"]
