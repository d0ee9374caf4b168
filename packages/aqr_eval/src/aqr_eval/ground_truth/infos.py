"""The ground truth of an infos file, as `aqr prepare` writes it: one JSON object per line, the first a header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.ground_truth.keyframes import KeyframeTruth, ground_truth_of_keyframes
from aqr_eval.ground_truth.truth import GroundTruth
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.errors import DataError

_FORMAT, _VERSION = "aqr-infos", 1
_PICKLE_START = b"\x80"  # of every protocol since the second


def ground_truth_from_infos(path: Path) -> GroundTruth:
    """Reads the annotated boxes of an infos file.

    Raises:
        DataError: the file is of another kind, a line is broken, or nothing is annotated (as in the test split).
    """
    with path.open("rb") as start:
        if start.read(1) == _PICKLE_START:
            raise DataError(
                f"{path} is a pickle, which is not opened here: give the infos that `aqr convert-infos {path} "
                f"--out {path.with_suffix('.jsonl').name}` makes of it."
            )
    keyframes = []
    with path.open(encoding="utf-8", errors="replace") as file:  # what is no text is no JSON either
        header = _parsed(path, 1, file.readline(), _header)
        for number, line in enumerate(file, start=2):
            keyframes.append(_parsed(path, number, line, lambda record: _keyframe(record, header["classes"])))
    if not sum(len(keyframe.boxes) for keyframe in keyframes):
        raise DataError(
            f"{path} holds no annotated box, so nothing can be scored with it: give the infos of a split with "
            "annotations."
        )
    return ground_truth_of_keyframes(keyframes, f"{header['split']} of {header['dataset_version']}")


def _parsed(path: Path, number: int, line: str, parse: Any) -> Any:  # noqa: ANN401  # a function of a record
    try:
        return parse(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        fault = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}:{number}: {fault}; rebuild the file with `aqr prepare`.") from None


def _header(record: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever the file holds
    if record["format"] != _FORMAT or record["version"] != _VERSION:
        raise ValueError(f"the header says {record['format']!r} {record['version']}, not {_FORMAT!r} {_VERSION}")
    unknown = set(record["classes"]) - set(DETECTION_CLASSES)
    if unknown:
        raise ValueError(f"the header counts {sorted(unknown)[0]!r}, which is no nuScenes detection class")
    return {key: record[key] for key in ("classes", "split", "dataset_version")}


def _keyframe(record: Any, classes: list[str]) -> KeyframeTruth:  # noqa: ANN401  # whatever the file holds
    gt = record["gt"]
    label_of = np.array([DETECTION_CLASSES.index(name) for name in classes], dtype=np.int64)
    labels = label_of[np.array(gt["labels"], dtype=np.int64)]
    boxes = np.array(gt["boxes"], dtype=np.float64).reshape(-1, 9)  # None becomes NaN
    num_pts = np.array(gt["num_lidar_pts"], dtype=np.int64) + np.array(gt["num_radar_pts"], dtype=np.int64)
    if not len(labels) == len(boxes) == len(num_pts) == len(gt["attributes"]):
        raise ValueError("the columns of field 'gt' have different lengths")
    return KeyframeTruth(
        token=record["token"],
        scene=record["scene"],
        lidar2ego=_pose(record["lidar"]["lidar2ego"]),
        ego2global=_pose(record["ego2global"]),
        boxes=boxes,
        labels=labels,
        attributes=gt["attributes"],
        num_pts=num_pts,
        cameras={
            channel: (_lidar2img(camera), (camera["width"], camera["height"]))
            for channel, camera in record["cameras"].items()
            if camera["width"] is not None
        },
    )


def _lidar2img(camera: dict[str, Any]) -> NDArray[np.float64]:
    cam2img = np.eye(4)
    cam2img[:3, :3] = camera["cam2img"]
    lidar2img: NDArray[np.float64] = cam2img @ _pose(camera["lidar2cam"])
    return lidar2img


def _pose(values: Any) -> NDArray[np.float64]:  # noqa: ANN401  # whatever the file holds
    pose: NDArray[np.float64] = np.array(values, dtype=np.float64).reshape(4, 4)
    if not np.isfinite(pose).all():
        raise ValueError("a pose holds numbers that are not finite")
    return pose
