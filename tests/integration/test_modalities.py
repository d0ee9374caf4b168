"""LiDAR alone, cameras alone: the code path of the fusion detector, through the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aqr_train.configs
from aqr_core.checkpoint import read_weights
from aqr_eval import load_submission
from aqr_train.checkpoints import latest_checkpoint
from aqr_train.cli import main as aqr_main

pytestmark = pytest.mark.slow
BASE = Path(aqr_train.configs.__path__[0]) / "cmt_tiny.py"

LIDAR = """
_load = _base_._load[:2]
_kept = ("GlobalRotScaleTransAll", "CustomRandomFlip3D", "PointsRangeFilter", "ObjectRangeFilter")
_augment = [step for step in _base_.data.train.pipeline if step["type"] in _kept]
data = dict(
    train=dict(pipeline=[*_load, dict(type="LoadAnnotations3D"), *_augment]),
    val=dict(pipeline=_load),
)
model = dict(
    img_backbone=None,
    img_neck=None,
    pts_bbox_head=dict(type="CmtLidarHead", separate_head=dict(final_kernel=3)),
)
optimizer = dict(param_groups={"_delete_": True, "pts_bbox_head.bev_embedding.*": dict(lr_mult=0.05)})
"""
CAMERA = """
_load = _base_._load[2:]
_resize = dict(type="ResizeCropFlipImage", data_aug_conf=_base_._image)
data = dict(
    train=dict(
        pipeline=[
            *_load,
            dict(type="LoadAnnotations3D"),
            dict(type="GlobalRotScaleTransImage"),
            dict(type="ObjectRangeFilter", point_cloud_range=_base_._point_cloud_range),
            dict(**_resize, training=True),
            *_base_._finish,
        ]
    ),
    val=dict(pipeline=[*_load, dict(**_resize, training=False), *_base_._finish]),
)
model = dict(
    pts_voxel_layer=None,
    pts_voxel_encoder=None,
    pts_middle_encoder=None,
    pts_backbone=None,
    pts_neck=None,
    pts_bbox_head=dict(type="CmtImageHead"),
)
"""
BRANCHES = {"lidar": ("pts_middle_encoder.", "img_backbone."), "camera": ("img_backbone.", "pts_middle_encoder.")}


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "data"
    assert aqr_main(["synth", "--out", str(root), "--scenes", "2", "--seed", "3", "--preset", "tiny"]) == 0
    assert aqr_main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    return root


@pytest.mark.parametrize(("sensor", "config"), [("lidar", LIDAR), ("camera", CAMERA)])
def test_one_sensor_trains_resumes_and_predicts(dataroot, tmp_path, sensor, config):
    path, run, cut = tmp_path / f"{sensor}.py", tmp_path / "run", tmp_path / "cut"
    path.write_text(f'_base_ = "{BASE}"\n{config}')
    infos = {"train": "infos_mini_train.jsonl", "val": "infos_mini_val.jsonl"}
    options = [f"dataroot={dataroot}", *(f"data.{part}.infos={name}" for part, name in infos.items())]
    options += ["data.num_workers=0", "data.train.class_balanced=True", "train.save_every=2", "train.val_every=None"]
    options += ["schedule.warmup_steps=2", "train.keep=0", "train.max_steps=3"]

    for folder in (run, cut):
        assert aqr_main(["train", str(path), "--work-dir", str(folder), "--cfg-options", *options]) == 0
    (cut / "checkpoints" / "latest").write_text("step_0000002\n")
    assert aqr_main(["train", str(path), "--work-dir", str(cut), "--resume", "--cfg-options", *options]) == 0
    whole, resumed = (read_weights(latest_checkpoint(folder)) for folder in (run, cut))
    assert all((whole[key] == resumed[key]).all() for key in whole)
    present, absent = BRANCHES[sensor]
    assert any(key.startswith(present) for key in whole) and not any(key.startswith(absent) for key in whole)

    submission = tmp_path / "out" / "submission.json"
    assert aqr_main(["predict", str(run), "--out", str(submission.parent)]) == 0
    meta = json.loads(submission.read_text())["meta"]
    assert (meta["use_lidar"], meta["use_camera"]) == (sensor == "lidar", sensor == "camera")
    found = load_submission(submission)
    assert len(found.tokens) == 6 and len(found.boxes) > 0
