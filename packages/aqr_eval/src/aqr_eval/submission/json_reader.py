"""nuScenes results files: read sample by sample, so that memory grows with the columns and not with the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import MAX_BOXES_PER_SAMPLE
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.nuscenes.json_stream import JsonStream
from aqr_eval.submission.check import check_boxes, crowded
from aqr_eval.submission.sample_boxes import SampleBoxes, decode_boxes
from aqr_eval.submission.submission import Submission
from aqr_eval.submission.uniform import cut_boxes

_END_OF_BOXES = re.compile(r"\}\s*\]")


def read_json(path: Path) -> Submission:
    """Reads and checks a results file.

    Raises:
        SubmissionError: the file is no JSON, or a sample or box breaks the format (named in the message).
    """
    meta: Mapping[str, Any] | None = None
    boxes: dict[str, SampleBoxes] | None = None
    with JsonStream(path, SubmissionError) as stream:
        if stream.peek() != "{":
            raise SubmissionError(f"{path} holds no JSON object: write {{'meta': {{...}}, 'results': {{...}}}}.")
        for key in stream.object_keys():
            if key == "results":
                if boxes is not None:
                    raise SubmissionError(f"{path} has 'results' twice: merge them.")
                boxes = _read_results(stream, path)
            elif key == "meta":
                meta = stream.value()
            else:
                stream.value()
        stream.finish()
    if boxes is None or not isinstance(meta, dict):
        missing = "results" if boxes is None else "meta"
        raise SubmissionError(f"{path} has no {missing!r} object: write {{'meta': {{...}}, 'results': {{...}}}}.")
    submission = Submission(tuple(boxes), _join(list(boxes.values())), meta, source=str(path))
    check_boxes(submission)
    return submission


def _read_results(stream: JsonStream, path: Path) -> dict[str, SampleBoxes]:
    if stream.peek() != "{":
        raise SubmissionError(f"{path}: 'results' must map sample tokens to lists of boxes.")
    boxes: dict[str, SampleBoxes] = {}
    for token in stream.object_keys():
        stream.inside = f"sample {token!r}"
        where = f"{path}: {stream.inside}"
        if token in boxes:
            raise SubmissionError(f"{where} appears twice in 'results': merge its boxes into one list.")
        found = boxes[token] = _read_sample(stream, token, where)
        if len(found.label) > MAX_BOXES_PER_SAMPLE:
            raise crowded(where, len(found.label))
    stream.inside = ""
    return boxes


def _read_sample(stream: JsonStream, token: str, where: str) -> SampleBoxes:
    text = stream.text_through(_END_OF_BOXES, opening="[")
    found = cut_boxes(text, token) if text else None
    if found is None:
        return decode_boxes(stream.value(), token, where)
    stream.skip(len(text))
    return found


def _join(parts: list[SampleBoxes]) -> Boxes:
    return Boxes.from_numbers(
        sample=np.repeat(np.arange(len(parts)), [len(part.label) for part in parts]),
        label=[label for part in parts for label in part.label],
        attribute=[attribute for part in parts for attribute in part.attribute],
        numbers=np.concatenate([np.zeros((0, 14)), *(part.numbers for part in parts)]),
    )
