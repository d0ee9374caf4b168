"""`aqr train`: the same as `python -m aqr_train`."""

from aqr_train.launch import add_arguments, run

__all__ = ["add_arguments", "run"]
