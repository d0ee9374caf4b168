"""What detections are scored against: a prepared file, the nuScenes tables, or the boxes of the infos."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aqr_core.infos.find_split import find_split
from aqr_eval import GroundTruth, load_ground_truth
from aqr_eval.ground_truth import KeyframeTruth, ground_truth_of_keyframes
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

logger = logging.getLogger(__name__)


def prepared_file(infos_path: Path, split: str) -> Path:
    """Where `aqr prepare` puts the ground truth of a split: beside its infos."""
    return infos_path.with_name(f"ground_truth_{split}.safetensors")


def ground_truth_of(infos: Any, dataroot: str | Path) -> GroundTruth:  # noqa: ANN401 - aqr_core.infos, either kind
    """Ground truth of the keyframes that the infos hold.

    The file that `aqr prepare` wrote beside them, or the tables below `dataroot`, which it was made from, are what the
    benchmark uses; infos that do not name their split, mmdet3d's, are found in the tables by their tokens. Without
    both (single keyframes) the boxes of the infos serve, which lack the bicycle racks that the benchmark leaves out.
    """
    header = infos.header
    has_tables = bool(header.dataset_version) and (Path(dataroot) / header.dataset_version).is_dir()
    split = header.split or (
        _split_of(tuple(infos.tokens()), str(dataroot), header.dataset_version) if has_tables else ""
    )
    prepared = prepared_file(Path(infos.path), split)
    if split and prepared.is_file():
        truth = _load(str(prepared))
    elif split and has_tables:
        truth = _load(str(dataroot), header.dataset_version, split)
    else:
        message = "No tables below %s tell the split of these keyframes: scoring against the boxes of %s."
        logger.info(message, dataroot, infos.path)
        return ground_truth_from_infos(infos)
    # Infos of incomplete data hold fewer keyframes than the tables.
    return truth if len(infos) == len(truth.tokens) else truth.of_samples([info.token for info in infos])


@lru_cache(maxsize=2)
def _split_of(tokens: tuple[str, ...], dataroot: str, version: str) -> str:
    """Read once: every validation of a run asks."""
    return find_split(tokens, dataroot, version)


def is_annotated(infos: Any) -> bool:  # noqa: ANN401 - aqr_core.infos, either kind
    """Whether any keyframe has a box; none has in the test split of nuScenes, which its server alone scores."""
    return bool(infos.presence().annotated.any())


def ground_truth_from_infos(infos: Any) -> GroundTruth:  # noqa: ANN401 - aqr_core.infos, either kind
    """The boxes of the infos in the global frame; no bicycle racks."""
    label_of = np.array([DETECTION_CLASSES.index(name) for name in infos.header.classes], dtype=np.int64)
    keyframes = [
        KeyframeTruth(
            token=info.token,
            scene=info.scene,
            lidar2ego=info.lidar.lidar2ego,
            ego2global=info.ego2global,
            boxes=info.gt.boxes,
            labels=label_of[info.gt.labels],
            attributes=info.gt.attributes,
            num_pts=np.asarray(info.gt.num_lidar_pts + info.gt.num_radar_pts, dtype=np.int64),
            cameras={
                channel: (camera.lidar2img, (camera.width, camera.height))
                for channel, camera in info.cameras.items()
                if camera.width is not None and camera.height is not None
            },
        )
        for info in infos
    ]
    if any(len(each.boxes) for each in keyframes) and not any(any(each.attributes) for each in keyframes):
        logger.warning("%s names no attributes: AAE is 1, the worst, which takes up to 0.1 off NDS.", infos.path)
    return ground_truth_of_keyframes(keyframes, name=str(infos.path))


@lru_cache(maxsize=2)
def _load(source: str, version: str | None = None, split: str | None = None) -> GroundTruth:
    return load_ground_truth(source, version, split)
