"""Submissions on disk: the nuScenes results JSON and its columnar twin; the content tells which, not the name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aqr_eval.box_columns import box_columns, read_boxes
from aqr_eval.columns_file import ColumnsFile, is_columns_file, write_columns
from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.submission.check import check_boxes
from aqr_eval.submission.json_reader import read_json
from aqr_eval.submission.json_writer import write_json
from aqr_eval.submission.submission import Submission

COLUMNS_SUFFIX = ".safetensors"
_KIND = "submission"


def load_submission(path: str | Path) -> Submission:
    """Reads and checks a submission of either format.

    Raises:
        SubmissionError: the file is missing, of neither format, or a sample or box breaks the format (named in the
            message).
    """
    path = Path(path)
    if path.is_dir():
        raise SubmissionError(f"{path} is a folder: give a file in it, such as {path / 'submission.json'}.")
    if not path.is_file():
        raise SubmissionError(f"{path} does not exist: give the path of a nuScenes results file.")
    return _read_columns(path) if is_columns_file(path) else read_json(path)


def write_submission(path: str | Path, submission: Submission) -> Path:
    """Writes a submission, as columns where the name ends in `.safetensors`, else as nuScenes results JSON.

    An interrupted run leaves no partial file.

    Raises:
        SubmissionError: a number is not finite or a sample has more than 500 boxes; nothing is written.
    """
    path = Path(path)
    check_boxes(submission)
    if path.suffix == COLUMNS_SUFFIX:
        facts = {
            "tokens": submission.tokens,
            "meta": dict(submission.meta),
            "classes": DETECTION_CLASSES,
            "attributes": ATTRIBUTES,
        }
        write_columns(path, _KIND, box_columns(submission.boxes), facts)
    else:
        write_json(path, submission)
    return path


def _read_columns(path: Path) -> Submission:
    file = ColumnsFile(path, _KIND, SubmissionError)
    tokens = file.fact("tokens", list)
    if not all(isinstance(token, str) for token in tokens):
        raise SubmissionError(f"{path}: 'tokens' in the header holds more than strings: write the file again.")
    for name, ours in (("classes", DETECTION_CLASSES), ("attributes", ATTRIBUTES)):
        if tuple(file.fact(name, list)) != ours:
            raise SubmissionError(f"{path} counts other {name} than {', '.join(ours)}: write it with these, in order.")
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        raise SubmissionError(f"{path}: sample {twice[0]!r} appears twice in 'tokens': merge its boxes.")
    submission = Submission(
        tuple(tokens), read_boxes(file, len(tokens), SubmissionError), file.fact("meta", dict), source=str(path)
    )
    check_boxes(submission)
    return submission
