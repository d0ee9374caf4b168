"""Errors that a user can act on.

Every message is one sentence with the value, the cause and the next action. The command line prints
it without a traceback and exits with code 2. `assert` is kept for our own bugs.
"""


class AqrError(ValueError):
    """Base of all errors that are shown to users as one sentence."""


class DataError(AqrError):
    """A file, table or record on disk is missing or not what the format promises."""


class SubmissionError(AqrError):
    """A results file breaks the nuScenes submission format."""
