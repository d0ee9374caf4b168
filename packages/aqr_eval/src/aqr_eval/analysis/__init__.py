"""What a number hides: its parts, its uncertainty, the mistakes behind it, and whether its scores mean anything."""

from aqr_eval.analysis.bootstrap import Difference, Interval, Intervals, bootstrap
from aqr_eval.analysis.breakdown import Breakdown, ClassScores, Group, break_down
from aqr_eval.analysis.calibration import Bin, Calibration, Reliability, calibrate
from aqr_eval.analysis.error_costs import ErrorAnalysis, ErrorKind, analyze_errors

__all__ = [
    "Bin",
    "Breakdown",
    "Calibration",
    "ClassScores",
    "Difference",
    "ErrorAnalysis",
    "ErrorKind",
    "Group",
    "Interval",
    "Intervals",
    "Reliability",
    "analyze_errors",
    "bootstrap",
    "break_down",
    "calibrate",
]
