"""The user-facing errors of the model side; the data side comes from `aqr_eval.nuscenes`."""

from aqr_eval.nuscenes.errors import AqrError, DataError

__all__ = ["AqrError", "CheckpointError", "ConfigError", "DataError", "NonFiniteError", "one_line"]


def one_line(error: BaseException) -> str:
    """What another library's error says, without its line breaks: the cause within a sentence of ours."""
    return " ".join(str(error).split())


class ConfigError(AqrError):
    """A config names an unknown key or type, or holds a value outside its allowed range."""


class CheckpointError(AqrError):
    """Weights do not fit the model, or a checkpoint folder is incomplete."""


class NonFiniteError(AqrError):
    """A loss, gradient or score is NaN or infinite."""
