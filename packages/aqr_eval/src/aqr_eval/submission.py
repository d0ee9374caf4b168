"""nuScenes results files: reading, checking, writing, and turning LiDAR-frame detections into their records."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX, Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES, default_attribute
from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.nuscenes.geometry import matrix_to_quaternion, multiply_quaternions, yaw_to_quaternion
from aqr_eval.nuscenes.json_stream import JsonStream
from aqr_eval.whole_files import replacing

MAX_BOXES_PER_SAMPLE = 500

_LENGTHS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}
_FIELDS = ("sample_token", *_LENGTHS, "detection_name", "detection_score", "attribute_name")
_pick = itemgetter(*_FIELDS)
_META = {"use_camera": True, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}


@dataclass(frozen=True, eq=False)
class Submission:
    """The content of a results file.

    Attributes:
        tokens: sample tokens in file order, those with empty lists included.
        boxes: all boxes in file order, which decides between equal scores; `sample` indexes `tokens`.
        meta: the modality flags, unchecked.
        source: what errors about it call it: the file it came from.
    """

    tokens: tuple[str, ...]
    boxes: Boxes
    meta: Mapping[str, Any]
    source: str = "The submission"


def load_submission(path: str | Path) -> Submission:
    """Reads and checks a results file, sample by sample; memory grows with the columns, not with the text.

    Raises:
        SubmissionError: the file is missing or no JSON, or a sample or box breaks the format (named in the message).
    """
    path = Path(path)
    if not path.is_file():
        raise SubmissionError(f"{path} does not exist: give the path of a nuScenes results JSON.")
    meta: Mapping[str, Any] | None = None
    reader: _BoxReader | None = None
    with JsonStream(path, SubmissionError) as stream:
        if stream.peek() != "{":
            raise SubmissionError(f"{path} holds no JSON object: write {{'meta': {{...}}, 'results': {{...}}}}.")
        for key in stream.object_keys():
            if key == "results":
                if stream.peek() != "{":
                    raise SubmissionError(f"{path}: 'results' must map sample tokens to lists of boxes.")
                reader = _BoxReader(path)
                for token in stream.object_keys():
                    reader.add_sample(token, stream.value())
            elif key == "meta":
                meta = stream.value()
            else:
                stream.value()
    if reader is None or not isinstance(meta, dict):
        missing = "results" if reader is None else "meta"
        raise SubmissionError(f"{path} has no {missing!r} object: write {{'meta': {{...}}, 'results': {{...}}}}.")
    return Submission(tokens=tuple(reader.tokens), boxes=reader.boxes(), meta=meta, source=str(path))


def write_submission(
    path: str | Path, results: Mapping[str, Sequence[Mapping[str, Any]]], meta: Mapping[str, bool] | None = None
) -> Path:
    """Writes a results file that the devkit reads; an interrupted run leaves no partial file.

    Args:
        path: Where to write.
        results: sample token -> its records, see `detections_to_global`. Every sample of the split must
            be a key; the list may be empty.
        meta: Modality flags; default camera and LiDAR.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"meta": {json.dumps(_META if meta is None else dict(meta))}, "results": {{')
        for number, (token, records) in enumerate(results.items()):
            boxes = [{"sample_token": token, **record} for record in records]
            file.write(f"{',' if number else ''}\n{json.dumps(token)}: {json.dumps(boxes)}")
        file.write("\n}}\n")
    return Path(path)


def detections_to_global(
    boxes9: ArrayLike, scores: ArrayLike, labels: ArrayLike, lidar2ego: ArrayLike, ego2global: ArrayLike
) -> list[dict[str, Any]]:
    """LiDAR-frame detections of one sample -> the records of a results file, without `sample_token`.

    Args:
        boxes9: (K, 9) x, y, z (gravity centre), dx along the heading, dy, dz, yaw, vx, vy; LiDAR frame.
        scores: (K,) confidence.
        labels: (K,) index into `DETECTION_CLASSES`.
        lidar2ego: (4, 4) LiDAR pose on the vehicle.
        ego2global: (4, 4) vehicle pose at the LiDAR keyframe.

    Returns:
        K records; the attribute follows the class and the global speed (`default_attribute`).

    Raises:
        SubmissionError: a box, score or label that no results file may hold.
    """
    boxes = np.asarray(boxes9, dtype=np.float64).reshape(-1, 9)
    score = np.asarray(scores, dtype=np.float64).reshape(-1)
    label = np.asarray(labels, dtype=np.int64).reshape(-1)
    _check_detections(boxes, score, label)
    lidar2global = np.asarray(ego2global, dtype=np.float64) @ np.asarray(lidar2ego, dtype=np.float64)
    turn = lidar2global[:3, :3]
    translation = boxes[:, :3] @ turn.T + lidar2global[:3, 3]
    rotation = multiply_quaternions(matrix_to_quaternion(turn), yaw_to_quaternion(boxes[:, 6]))
    velocity = boxes[:, 7:9] @ turn[:2, :2].T  # the vertical part that a tilted vehicle adds is not submitted
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    return [
        {
            "translation": translation[i].tolist(),
            "size": boxes[i, [4, 3, 5]].tolist(),
            "rotation": rotation[i].tolist(),
            "velocity": velocity[i].tolist(),
            "detection_name": DETECTION_CLASSES[label[i]],
            "detection_score": float(score[i]),
            "attribute_name": default_attribute(DETECTION_CLASSES[label[i]], float(speed[i])),
        }
        for i in range(len(boxes))
    ]


def _check_detections(boxes: NDArray[np.float64], score: NDArray[np.float64], label: NDArray[np.int64]) -> None:
    if not len(boxes) == len(score) == len(label):
        raise SubmissionError(
            f"{len(boxes)} boxes come with {len(score)} scores and {len(label)} labels: give one of each per box."
        )
    bad = np.flatnonzero(~np.isfinite(boxes[:, :7]).all(axis=1) | ~np.isfinite(score))
    if len(bad):
        raise SubmissionError(
            f"Detection {bad[0]} has box {boxes[bad[0]].tolist()} and score {score[bad[0]]}: "
            f"only velocities may be NaN, so check the model for overflow."
        )
    bad = np.flatnonzero((label < 0) | (label >= len(DETECTION_CLASSES)))
    if len(bad):
        raise SubmissionError(
            f"Detection {bad[0]} has label {label[bad[0]]}: labels index the {len(DETECTION_CLASSES)} detection "
            f"classes, so check the head's class list."
        )


class _BoxReader:
    """Collects the boxes of a results file as flat columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tokens: dict[str, int] = {}
        self._sample = array("q")
        self._label = array("q")
        self._attribute = array("q")
        self._numbers = array("d")

    def add_sample(self, token: str, records: Any) -> None:  # noqa: ANN401  # whatever the file holds
        """Checks and appends one sample's list."""
        where = f"{self._path}: sample {token!r}"
        if token in self.tokens:
            raise SubmissionError(f"{where} appears twice in 'results': merge its boxes into one list.")
        if not isinstance(records, list):
            raise SubmissionError(f"{where} holds {records!r:.40} where a list of boxes belongs: use [] for none.")
        if len(records) > MAX_BOXES_PER_SAMPLE:
            raise SubmissionError(
                f"{where} has {len(records)} boxes, the limit is {MAX_BOXES_PER_SAMPLE}: keep the highest scores."
            )
        sample = self.tokens[token] = len(self.tokens)
        for number, record in enumerate(records):
            try:
                own, centre, size, rotation, velocity, name, score, attribute = _pick(record)
                if own != token or not (len(centre) == len(size) == 3 and len(rotation) == 4 and len(velocity) == 2):
                    raise ValueError
                self._label.append(CLASS_INDEX[name])
                self._attribute.append(ATTRIBUTE_INDEX[attribute])
                self._numbers.extend((*centre, *size, *rotation, *velocity, score, record.get("num_pts", -1)))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise SubmissionError(f"{where}, box {number} {_fault(token, record)}") from None
            self._sample.append(sample)

    def boxes(self) -> Boxes:
        """The columns, checked for values that are not finite."""
        numbers = np.array(self._numbers).reshape(-1, 14)
        finite = np.isfinite(numbers)
        finite[:, 10:12] |= np.isnan(numbers[:, 10:12])
        bad = np.argwhere(~finite)
        if len(bad):
            row, column = bad[0]
            field = ("translation",) * 3 + ("size",) * 3 + ("rotation",) * 4 + ("velocity",) * 2
            name = (*field, "detection_score", "num_pts")[column]
            raise SubmissionError(
                f"{self._path}: sample {list(self.tokens)[self._sample[row]]!r} has a box whose {name} holds "
                f"{numbers[row, column]}: only velocity may be NaN and nothing may be infinite, so check the model."
            )
        return Boxes.from_numbers(self._sample, self._label, self._attribute, numbers)


def _fault(token: str, record: Any) -> str:  # noqa: ANN401  # whatever the file holds
    """What is wrong with a box that could not be read, and what to do."""
    if not isinstance(record, dict):
        return f"is {record!r:.40}: write an object with {', '.join(_FIELDS)}."
    missing = [field for field in _FIELDS if field not in record]
    if missing:
        return f"lacks {', '.join(missing)}: write every field."
    if record["sample_token"] != token:
        return f"has sample_token {record['sample_token']!r}: list each box under its own sample."
    for field, count in _LENGTHS.items():
        if not _are_numbers(record[field], count):
            return f"has {field} = {record[field]!r:.80}: write {count} numbers."
    for field, known in (("detection_name", list(CLASS_INDEX)), ("attribute_name", list(ATTRIBUTE_INDEX))):
        if record[field] not in known:
            return f"has {field} = {record[field]!r:.60}: choose among {', '.join(map(repr, known))}."
    field = "num_pts" if _are_numbers([record["detection_score"]], 1) else "detection_score"
    return f"has {field} = {record[field]!r:.40}: write a number."


def _are_numbers(values: Iterable[Any], count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(v, (int, float)) for v in values)
