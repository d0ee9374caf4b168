"""The boxes of one sample cut out of their JSON text, several times as fast as decoding them one by one.

Programs write all boxes alike: the same fields in the same order with the same spaces, so that the text between the
quotation marks repeats from box to box. The first box is decoded and tells the order; the text is cut at the quotation
marks, every piece is compared with the first box's, and the numbers of a field are read in one call. Where anything
differs (another order, an escape, a number that is none), nothing is cut, and the caller decodes the text as JSON.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX
from aqr_eval.submission.sample_boxes import FIELDS, LENGTHS, SampleBoxes

_OF_NUMBERS = b"0123456789+-.eE"
_AROUND_NUMBERS = bytes.maketrans(b':[]{}"', b" " * 6)  # not dropped: "-[1" and "1]0" would become numbers
_NO_NUMBERS = b':[]{}" \t\r\n'
_COUNTS = LENGTHS | {"detection_score": 1, "num_pts": 1}


def cut_boxes(text: str, token: str) -> SampleBoxes | None:
    """The boxes in the text of a JSON list, or None where they are not uniform.

    Args:
        text: from the opening bracket to the closing one.
        token: the sample that they must name.
    """
    first_end = text.find("}") + 1
    first = _decode(text[1:first_end]) if text[:1] + text[-1:] == "[]" else None
    if first is None or "\\" in text:
        return None
    second = text.find("{", first_end)
    between = text[first_end : second if second >= 0 else -1]
    if between.strip() != ("," if second >= 0 else ""):
        return None
    pieces = (text[1:-1].strip() + between).split('"')
    period = text.count('"', 0, first_end)
    pieces[-1] += pieces[0]  # what closes the last box and opens the next, as behind every other box
    columns = {offset: pieces[offset::period] for offset in range(1, period + 1)}
    count = len(columns[1])
    words: dict[str, list[str]] = {}
    numbers: dict[str, NDArray[np.float64]] = {}
    offset = 1
    for field, value in first.items():
        if columns[offset].count(field) != count:
            return None
        if isinstance(value, str):
            words[field] = columns[offset + 2]
            if not (_are_equal(columns[offset + 1]) and _are_equal(columns[offset + 3])):
                return None
            offset += 4
        else:
            found = _read_numbers(columns[offset + 1], _COUNTS.get(field))
            if found is None:
                return None
            numbers[field] = found
            offset += 2
    if offset != period + 1 or words["sample_token"].count(token) != count:
        return None
    label = [CLASS_INDEX.get(name, -1) for name in words["detection_name"]]
    attribute = [ATTRIBUTE_INDEX.get(name, -2) for name in words["attribute_name"]]
    if -1 in label or -2 in attribute:
        return None
    numbers.setdefault("num_pts", np.full((count, 1), -1.0))
    return SampleBoxes(label, attribute, np.hstack([numbers[field] for field in _COUNTS]))


def _decode(text: str) -> dict[str, Any] | None:
    """The first box, if it has every field and each is of the kind that belongs there; others must be text."""
    try:
        box = json.loads(text)
    except ValueError:
        return None
    complete = isinstance(box, dict) and box.keys() >= set(FIELDS)
    return box if complete and all(isinstance(box[field], str) == (field not in _COUNTS) for field in box) else None


def _are_equal(column: list[str]) -> bool:
    return column.count(column[0]) == len(column)


def _read_numbers(column: list[str], count: int | None) -> NDArray[np.float64] | None:
    """Pieces such as ': [1.0, 2.5], ' -> one row each of `count` numbers; None where more than the numbers differs."""
    if count is None:
        return None
    joined = ('"'.join(column) + '"').encode()
    frame = joined.replace(b"NaN", b"").translate(None, _OF_NUMBERS)
    if frame != frame[: frame.index(b'"') + 1] * len(column):
        return None
    compact = joined.translate(None, _NO_NUMBERS)
    if b",," in compact or compact[:1] == b",":  # numpy takes spaces without a number for 0
        return None
    try:
        values = np.fromstring(joined.translate(_AROUND_NUMBERS).rstrip(b", \t\r\n"), sep=",")
    except ValueError:
        return None
    return values.reshape(-1, count) if len(values) == count * len(column) else None
