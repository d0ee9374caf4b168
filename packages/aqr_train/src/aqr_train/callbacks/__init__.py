"""What happens around the steps: logs, progress, AQR figures and pictures, validation, checkpoints."""

from aqr_train.callbacks.aqr import AqrMonitor
from aqr_train.callbacks.base import Callback
from aqr_train.callbacks.checkpointer import Checkpointer
from aqr_train.callbacks.evaluator import Evaluator
from aqr_train.callbacks.logger import ScalarLogger
from aqr_train.callbacks.pictures import AqrPictures
from aqr_train.callbacks.progress import ProgressBar

__all__ = ["AqrMonitor", "AqrPictures", "Callback", "Checkpointer", "Evaluator", "ProgressBar", "ScalarLogger"]
