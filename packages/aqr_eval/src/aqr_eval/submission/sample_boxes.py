"""The boxes of one sample, decoded from JSON and checked one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX
from aqr_eval.nuscenes.errors import SubmissionError

LENGTHS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}
FIELDS = ("sample_token", *LENGTHS, "detection_name", "detection_score", "attribute_name")
_pick = itemgetter(*FIELDS)
_LARGEST = 2**1023  # integers beyond overflow a float


@dataclass(frozen=True)
class SampleBoxes:
    """n boxes as columns.

    Attributes:
        label: n indices into the detection classes.
        attribute: n indices into the attributes, -1 for none.
        numbers: (n, 14) translation, size, rotation, velocity, score, number of points (-1 where not given).
    """

    label: list[int]
    attribute: list[int]
    numbers: NDArray[np.float64]


def decode_boxes(records: Any, token: str, where: str) -> SampleBoxes:  # noqa: ANN401  # whatever the file holds
    """The boxes of a decoded JSON value.

    Args:
        records: should be a list of objects.
        token: the sample they must name.
        where: the file and the sample, for messages.

    Raises:
        SubmissionError: names the box and the field at fault.
    """
    if not isinstance(records, list):
        raise SubmissionError(f"{where} holds {records!r:.40} where a list of boxes belongs: use [] for none.")
    label, attribute, numbers = [], [], []
    for number, record in enumerate(records):
        try:
            own, centre, size, rotation, velocity, name, score, attribute_name = _pick(record)
            if own != token or not (len(centre) == len(size) == 3 and len(rotation) == 4 and len(velocity) == 2):
                raise ValueError
            label.append(CLASS_INDEX[name])
            attribute.append(ATTRIBUTE_INDEX[attribute_name])
            row = [*centre, *size, *rotation, *velocity, score, record.get("num_pts", -1)]
            if not _are_numbers(row, 14):
                raise ValueError
            numbers.append(row)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise SubmissionError(f"{where}, box {number} {_fault(token, record)}") from None
    return SampleBoxes(label, attribute, np.array(numbers, dtype=np.float64).reshape(-1, 14))


def _fault(token: str, record: Any) -> str:  # noqa: ANN401  # whatever the file holds
    """What is wrong with a box that could not be read, and what to do."""
    if not isinstance(record, dict):
        return f"is {record!r:.40}: write an object with {', '.join(FIELDS)}."
    missing = [field for field in FIELDS if field not in record]
    if missing:
        return f"lacks {', '.join(missing)}: write every field."
    if record["sample_token"] != token:
        return f"has sample_token {record['sample_token']!r:.60}: list each box under its own sample."
    for field, count in LENGTHS.items():
        if not _are_numbers(record[field], count):
            return f"has {field} = {record[field]!r:.80}: write {count} numbers."
    for field, known in (("detection_name", list(CLASS_INDEX)), ("attribute_name", list(ATTRIBUTE_INDEX))):
        if record[field] not in known:
            return f"has {field} = {record[field]!r:.60}: choose among {', '.join(map(repr, known))}."
    field = "num_pts" if _are_numbers([record["detection_score"]], 1) else "detection_score"
    return f"has {field} = {record[field]!r:.40}: write a number."


def _are_numbers(values: Iterable[Any], count: int) -> bool:
    """Whether it is a list of `count` numbers that float64 can hold; true and false are none."""
    return isinstance(values, list) and len(values) == count and all(map(_is_number, values))


def _is_number(value: Any) -> bool:  # noqa: ANN401  # whatever the file holds
    return isinstance(value, float) or (type(value) is int and abs(value) <= _LARGEST)
