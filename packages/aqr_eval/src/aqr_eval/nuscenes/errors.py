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


def sentence(error: AqrError | OSError) -> str:
    """What a command line prints for an error: our own sentence, or one about the file the system refused."""
    if isinstance(error, AqrError):
        return str(error)
    # A failed write, unlike a failed open, does not know its file.
    name = error.filename2 or error.filename or "A file"
    return f"{name} cannot be used ({error.strerror or error}); check the path, its permissions and the free space."
