"""The nuScenes devkit on the same problem: what `aqr-eval benchmark --against-devkit` and tests measure against.

    python devkit_side.py GROUND_TRUTH SUBMISSION.json

prints one line of JSON: seconds of each step, the peak memory of this process, mAP and NDS. The devkit's own code runs
unmodified; the tables, which would take 13 GB, are stood in for by the prepared ground truth.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes, load_gt, load_prediction
from nuscenes.eval.detection.data_classes import DetectionBox
from nuscenes.eval.detection.evaluate import DetectionEval

from aqr_eval import GroundTruth, load_ground_truth
from aqr_eval.benchmark.memory import peak_bytes
from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.classes import ATTRIBUTES, BICYCLE_RACK, CATEGORY_TO_CLASS, DETECTION_CLASSES

_CATEGORY = {name: category for category, name in reversed(CATEGORY_TO_CLASS.items())}
_SCENE = "scene-0003"  # any of val


class TablesOfTruth:
    """What the evaluation asks of `NuScenes`, answered from a ground truth."""

    version = "v1.0-trainval"

    def __init__(self, truth: GroundTruth) -> None:
        self.attribute = [{"token": name, "name": name} for name in ATTRIBUTES]
        self.sample = [
            {"token": token, "scene_token": _SCENE, "anns": [], "data": {"LIDAR_TOP": str(index)}}
            for index, token in enumerate(truth.tokens)
        ]
        self._poses = truth.ego_translation.tolist()
        self._samples = {sample["token"]: sample for sample in self.sample}
        self.sample_annotation: list[dict[str, Any]] = []
        self._add(truth.boxes, [_CATEGORY[DETECTION_CLASSES[label]] for label in truth.boxes.label.tolist()])
        self._add(truth.bicycle_racks, [BICYCLE_RACK] * len(truth.bicycle_racks))

    def _add(self, boxes: Boxes, categories: list[str]) -> None:
        for row, category in enumerate(categories):
            token = str(len(self.sample_annotation))
            self.sample[boxes.sample[row]]["anns"].append(token)
            self.sample_annotation.append(
                {
                    "token": token,
                    "category_name": category,
                    "attribute_tokens": [ATTRIBUTES[boxes.attribute[row]]] if boxes.attribute[row] >= 0 else [],
                    "translation": boxes.translation[row].tolist(),
                    "size": boxes.size_wlh[row].tolist(),
                    "rotation": boxes.rotation_wxyz[row].tolist(),
                    "velocity": boxes.velocity[row],
                    "num_lidar_pts": int(boxes.num_pts[row]),
                    "num_radar_pts": 0,
                }
            )

    def get(self, table: str, token: str) -> dict[str, Any]:
        """A row of one of the five tables that are asked for."""
        if table == "sample":
            return self._samples[token]
        if table == "sample_annotation":
            return self.sample_annotation[int(token)]
        if table == "scene":
            return {"name": token}
        if table == "sample_data":
            return {"ego_pose_token": token}
        assert table == "ego_pose", table
        return {"translation": self._poses[int(token)]}

    def box_velocity(self, token: str) -> np.ndarray:
        """(3,) m/s, of which two are looked at."""
        return np.array([*self.sample_annotation[int(token)]["velocity"], 0.0])


class Timed(DetectionEval):
    """`DetectionEval.__init__` step by step, with a clock between the steps, and without its folders."""

    def __init__(self, truth: GroundTruth, path: Path) -> None:
        self.cfg = config_factory("detection_cvpr_2019")
        self.verbose = False
        self.nusc: Any = TablesOfTruth(truth)
        self.seconds: dict[str, float] = {}
        self.gt_boxes = self._time("load_gt", load_gt, self.nusc, "val", DetectionBox)
        self.pred_boxes, self.meta = self._time(
            "load_prediction", load_prediction, str(path), self.cfg.max_boxes_per_sample, DetectionBox
        )
        assert set(self.pred_boxes.sample_tokens) == set(self.gt_boxes.sample_tokens)
        self._time("filter", self._filter)
        self.sample_tokens = self.gt_boxes.sample_tokens
        self.metrics, self.curves = self._time("accumulate", self.evaluate)

    def _filter(self) -> None:
        for side in ("pred_boxes", "gt_boxes"):
            boxes = add_center_dist(self.nusc, getattr(self, side))
            setattr(self, side, filter_eval_boxes(self.nusc, boxes, self.cfg.class_range))

    def _time(self, step: str, run: Any, *arguments: Any) -> Any:  # noqa: ANN401
        start = time.perf_counter()
        result = run(*arguments)
        self.seconds[step] = time.perf_counter() - start
        return result


def main() -> None:
    """See the module."""
    run = Timed(load_ground_truth(sys.argv[1]), Path(sys.argv[2]))
    scores = {"mAP": run.metrics.mean_ap, "NDS": run.metrics.nd_score}
    sys.stdout.write(json.dumps({"seconds": run.seconds, "peak_bytes": peak_bytes(), **scores}) + "\n")


if __name__ == "__main__":
    main()
