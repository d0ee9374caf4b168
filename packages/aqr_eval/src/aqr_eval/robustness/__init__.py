"""Results of a suite of sensor failures: what is kept, against oneself and against others; tables, figures, files."""

from aqr_eval.robustness.files import load_run, write_run
from aqr_eval.robustness.run import CLEAN, CellResult, RobustnessRun, SkippedCell

__all__ = ["CLEAN", "CellResult", "RobustnessRun", "SkippedCell", "load_run", "write_run"]
