"""Writing the nuScenes results format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES
from aqr_eval.submission.submission import Submission
from aqr_eval.whole_files import replacing


def write_json(path: Path, submission: Submission) -> None:
    """Writes a results file that the devkit reads; the number of points only where it is known."""
    boxes = submission.boxes
    start = np.searchsorted(boxes.sample, np.arange(len(submission.tokens) + 1))
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"meta": {json.dumps(dict(submission.meta))}, "results": {{')
        for number, token in enumerate(submission.tokens):
            rows = slice(start[number], start[number + 1])
            columns = zip(
                boxes.translation[rows].tolist(),
                boxes.size_wlh[rows].tolist(),
                boxes.rotation_wxyz[rows].tolist(),
                boxes.velocity[rows].tolist(),
                boxes.label[rows].tolist(),
                boxes.score[rows].tolist(),
                boxes.attribute[rows].tolist(),
                boxes.num_pts[rows].tolist(),
                strict=True,
            )
            records = [
                {
                    "sample_token": token,
                    "translation": translation,
                    "size": size,
                    "rotation": rotation,
                    "velocity": velocity,
                    "detection_name": DETECTION_CLASSES[label],
                    "detection_score": score,
                    "attribute_name": ATTRIBUTES[attribute] if attribute >= 0 else "",
                    **({} if num_pts == -1 else {"num_pts": num_pts}),
                }
                for translation, size, rotation, velocity, label, score, attribute, num_pts in columns
            ]
            file.write(f"{',' if number else ''}\n{json.dumps(token)}: {json.dumps(records)}")
        file.write("\n}}\n")
