"""What detections are scored against: the nuScenes tables, or the boxes of the infos where there are none."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aqr_eval import GroundTruth, load_ground_truth
from aqr_eval.boxes import ATTRIBUTE_INDEX, Boxes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.submission import boxes_to_global

logger = logging.getLogger(__name__)


def ground_truth_of(infos: Any, dataroot: str | Path) -> GroundTruth:  # noqa: ANN401 - aqr_core.infos, either kind
    """Ground truth of the keyframes that the infos hold.

    Tables, where they lie below `dataroot`, are what the benchmark uses. Without them (mmdet3d pickles, single
    keyframes) the boxes of the infos serve, which lack the bicycle racks that the benchmark leaves out.
    """
    header = infos.header
    if header.split and (Path(dataroot) / header.dataset_version).is_dir():
        truth = _from_tables(str(dataroot), header.dataset_version, header.split)
        # Infos of incomplete data hold fewer keyframes than the tables.
        return truth if len(infos) == len(truth.tokens) else truth.of_samples([info.token for info in infos])
    logger.info("No tables below %s: scoring against the boxes of %s.", dataroot, infos.path)
    return ground_truth_from_infos(infos)


def is_annotated(infos: Any) -> bool:  # noqa: ANN401 - aqr_core.infos, either kind
    """Whether any keyframe has a box; none has in the test split of nuScenes, which its server alone scores."""
    return bool(infos.presence().annotated.any())


def ground_truth_from_infos(infos: Any) -> GroundTruth:  # noqa: ANN401 - aqr_core.infos, either kind
    """The boxes of the infos in the global frame; no bicycle racks."""
    label_of = np.array([DETECTION_CLASSES.index(name) for name in infos.header.classes], dtype=np.int64)
    parts = []
    for sample, info in enumerate(infos):
        gt = info.gt
        placed = boxes_to_global(gt.boxes, label_of[gt.labels], info.ego2global @ info.lidar.lidar2ego)
        attribute = np.array([ATTRIBUTE_INDEX.get(name, -1) for name in gt.attributes], dtype=np.int64)
        num_pts = np.asarray(gt.num_lidar_pts + gt.num_radar_pts, dtype=np.int64)
        parts.append(replace(placed, sample=np.full(len(gt), sample), attribute=attribute, num_pts=num_pts))
    return GroundTruth(
        tokens=tuple(info.token for info in infos),
        ego_translation=np.array([info.ego2global[:3, 3] for info in infos]).reshape(-1, 3),
        boxes=Boxes.concatenate(parts),
        bicycle_racks=Boxes.concatenate([]),
    )


@lru_cache(maxsize=2)
def _from_tables(dataroot: str, version: str, split: str) -> GroundTruth:
    return load_ground_truth(dataroot, version, split)
