"""A point lands on the pixel it was seen in, whatever mmdet3d's transforms and ours do to scene and images.

Images are replaced by their own pixel coordinates, so an augmented image itself says where a point should be.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmdet3d.utils import register_all_modules

import aqr_core.mmdet3d  # noqa: F401 - registers ours
from aqr_core.errors import ConfigError
from aqr_core.mmdet3d.projection import lidar2img_of, scene_motion

LOAD_POINTS = dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5)
LOAD_IMAGES = dict(type="LoadMultiViewImageFromFiles", color_type="color", num_views=6)
LOAD_BOXES = dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True)
MOVE = dict(
    type="GlobalRotScaleTrans", rot_range=[-3.0, 3.0], scale_ratio_range=[0.5, 2.0], translation_std=[3.0, 3.0, 1.0]
)
MIRROR = dict(type="RandomFlip3D", sync_2d=False, flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5)
# With images that are loaded already mmdet3d's flip does no harm like this, and after no MultiViewWrapper that flips.
MIRROR_X = dict(type="RandomFlip3D", sync_2d=False, flip_ratio_bev_horizontal=0.0, flip_ratio_bev_vertical=0.5)
OUR_SCENE = dict(
    type="AqrTransforms",
    transforms=[dict(type="GlobalRotScaleTransAll"), dict(type="CustomRandomFlip3D")],
)
OUR_IMAGES = dict(
    type="AqrTransforms",
    transforms=[
        dict(
            type="ResizeCropFlipImage",
            data_aug_conf=dict(final_dim=(180, 330), resize_lim=(0.7, 1.1), rand_flip=True),
        ),
        dict(type="PadMultiViewImage", size_divisor=32),
    ],
)
RESIZE = dict(type="RandomResize3D", scale=(420, 236), ratio_range=(0.8, 1.3), keep_ratio=True)
STRETCH = dict(type="Resize3D", scale=(390, 260), keep_ratio=False)
SILENT_RESIZE = dict(type="mmdet.Resize", scale=(360, 210), keep_ratio=False)  # leaves cam2img as it was
CROP = dict(type="RandomCrop3D", crop_size=(150, 300), crop_type="absolute", allow_negative_crop=True)
FLIP = dict(type="RandomFlip3D", flip_ratio_bev_horizontal=0.5, flip_box3d=False)
THEIR_IMAGES = [
    [RESIZE],
    [STRETCH],
    [SILENT_RESIZE],
    [CROP],
    [FLIP],
    [RESIZE, CROP],
    [STRETCH, FLIP],
    [SILENT_RESIZE, FLIP],
    [RESIZE, CROP, FLIP],
]


@pytest.fixture(scope="module")
def record(driven: Path) -> dict[str, Any]:
    """What mmdet3d's dataset gives to the pipeline of a keyframe with boxes and sweeps."""
    register_all_modules()
    cameras = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK", "BACK_LEFT", "BACK_RIGHT")
    dataset = DATASETS.build(
        dict(
            type="NuScenesDataset",
            data_root=str(driven),
            ann_file="nuscenes_infos_train.pkl",
            data_prefix=dict(
                pts="samples/LIDAR_TOP",
                sweeps="sweeps/LIDAR_TOP",
                **{f"CAM_{name}": f"samples/CAM_{name}" for name in cameras},
            ),
            modality=dict(use_lidar=True, use_camera=True),
        )
    )
    record = dataset.get_data_info(1)
    return Record(record, box_type_3d=dataset.box_type_3d, box_mode_3d=dataset.box_mode_3d)


class Record(dict):
    """A dict that hypothesis can print."""

    def __repr__(self) -> str:
        return "record"


def run(results: dict[str, Any], *steps: dict[str, Any]) -> dict[str, Any]:
    for step in steps:
        results = TRANSFORMS.build(copy.deepcopy(step))(results)
    return results


def load(record: dict[str, Any], *scene: dict[str, Any], as_arrays: bool) -> tuple[dict[str, Any], np.ndarray]:
    """Points and boxes of the keyframe after some steps, then images of their own coordinates; and points as loaded."""
    results = run(copy.deepcopy(dict(record)), LOAD_POINTS, LOAD_BOXES)
    points = results["points"].tensor[:, :3].numpy().astype(np.float64)
    results = run(run(results, *scene), LOAD_IMAGES)
    rows, columns = results["img"][0].shape[:2]
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32)
    results["img"] = [np.dstack([grid, np.full((rows, columns), view, np.float32)]) for view in range(6)]
    if as_arrays:  # as mmdet3d's Waymo dataset has them, and its transforms then treat them differently
        for key in ("cam2img", "ori_cam2img"):
            results[key] = [np.asarray(matrix) for matrix in results[key]]
    return results, points


def project(lidar2img: np.ndarray, points: np.ndarray) -> np.ndarray:
    projected = points @ lidar2img[:3, :3].T + lidar2img[:3, 3]
    return np.column_stack([projected[:, :2] / projected[:, 2:], projected[:, 2]])


def assert_points_land_where_they_were_seen(record, results, points, at_least: int) -> None:
    """Every point that was seen and still is lies on the pixel that holds its old coordinates."""
    images = results["img"]
    moved = results["points"].tensor[:, :3].numpy().astype(np.float64)
    now = lidar2img_of(results, [image.shape[1] for image in images])
    cameras = list(record["images"].values())
    compared = 0
    for view, image in enumerate(images):
        rows, columns = image.shape[:2]
        scale = np.nanmax(image[..., 0]) / columns
        before = np.eye(4)
        before[:3, :3] = cameras[view]["cam2img"]
        seen, there = project(before @ np.asarray(cameras[view]["lidar2cam"]), points), project(now[view], moved)
        pixel = np.floor(there[:, :2]).astype(int)
        inside = (there[:, 2] > 1) & (pixel >= 2).all(axis=1) & (pixel[:, 0] < columns - 2) & (pixel[:, 1] < rows - 2)
        content = image[pixel[inside, 1], pixel[inside, 0]]
        real = content[:, 2] == view  # padding and black borders hold zeros
        real &= (content[:, :2] > 2).all(axis=1)
        off = np.abs(content[real, :2] - seen[inside][real, :2])
        assert off.max(initial=0) < 2.5 * max(1, scale), (view, off.max())
        compared += int(real.sum())
    assert compared >= at_least


scene_steps = st.lists(st.sampled_from([MIRROR, OUR_SCENE]), max_size=2)


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    before=scene_steps,
    move=st.sampled_from([[], [MOVE], [MOVE, OUR_SCENE, MOVE]]),
    images=st.one_of(
        st.sampled_from(THEIR_IMAGES).map(lambda t: [dict(type="MultiViewWrapper", transforms=t)]), st.just([])
    ),
    after=st.sampled_from([[], [OUR_SCENE], [OUR_IMAGES], [OUR_IMAGES, MIRROR_X]]),
    as_arrays=st.booleans(),
)
def test_any_mixture_of_theirs_and_ours_keeps_points_on_their_pixels(
    record, seed, before, move, images, after, as_arrays
):
    np.random.seed(seed)  # noqa: NPY002 - mmdet3d draws from the global generator
    results, points = load(record, *before, *move, as_arrays=as_arrays)
    results = run(results, *images, *after)
    assert_points_land_where_they_were_seen(record, results, points, at_least=50)


@pytest.mark.parametrize("as_arrays", [False, True])
def test_boxes_move_with_the_points(record, as_arrays):
    np.random.seed(4)  # noqa: NPY002
    results, points = load(record, MIRROR, MOVE, as_arrays=as_arrays)
    untouched, _ = load(record, as_arrays=as_arrays)
    motion = scene_motion(results)
    np.testing.assert_allclose(
        results["points"].tensor[:, :3].numpy(), points @ motion[:3, :3].T + motion[:3, 3], atol=2e-4
    )
    centres = untouched["gt_bboxes_3d"].gravity_center.numpy()
    np.testing.assert_allclose(
        results["gt_bboxes_3d"].gravity_center.numpy(), centres @ motion[:3, :3].T + motion[:3, 3], atol=2e-4
    )


def test_crop_before_resize_is_refused(record):
    np.random.seed(0)  # noqa: NPY002
    results, _ = load(record, as_arrays=True)
    results = run(results, dict(type="MultiViewWrapper", transforms=[CROP, STRETCH]))
    with pytest.raises(
        ConfigError, match=r"'cam2img' of image 0 is none that follows .* resize .with Resize3D. before you crop"
    ):
        lidar2img_of(results, [390] * 6)


def test_a_second_wrapper_is_refused(record):
    results, _ = load(record, as_arrays=False)
    results = run(results, *[dict(type="MultiViewWrapper", transforms=[STRETCH])] * 2)
    with pytest.raises(ConfigError, match="put all image transforms into one"):
        lidar2img_of(results, [390] * 6)


def test_two_motions_of_the_scene_are_refused(record):
    results = run(copy.deepcopy(dict(record)), LOAD_POINTS, MOVE, MOVE)
    with pytest.raises(ConfigError, match=r"moved by 'R' 2 times.*use one GlobalRotScaleTrans"):
        scene_motion(results)


def test_images_turned_upside_down_are_refused(record):
    results, _ = load(record, as_arrays=False)
    results = run(results, dict(type="RandomFlip3D", flip_ratio_bev_horizontal=1.0))
    with pytest.raises(ConfigError, match="has turned the 6 images upside down"):
        run(results, OUR_IMAGES)


def test_a_flip_of_unknown_direction_is_refused(record):
    results, _ = load(record, as_arrays=False)
    results = run(results, dict(type="MultiViewWrapper", transforms=[dict(FLIP, flip_ratio_bev_horizontal=1.0)]))
    with pytest.raises(ConfigError, match="lacks 'flip_direction'; pack it with PackAqrInputs"):
        lidar2img_of({key: value for key, value in results.items() if key != "flip_direction"}, [400] * 6)


def test_a_flip_beside_padding_is_refused(record):
    results, _ = load(record, as_arrays=False)
    steps = [dict(FLIP, flip_ratio_bev_horizontal=1.0), dict(type="mmdet.Pad", size_divisor=32)]
    results = run(results, dict(type="MultiViewWrapper", transforms=steps))
    with pytest.raises(ConfigError, match="does not record which came first"):
        lidar2img_of(results, [image.shape[1] for image in results["img"]])


@pytest.mark.parametrize("key", ["pcd_rotation", "transformation_3d_flow"])
def test_a_missing_record_of_the_scene_is_told(record, key):
    results = run(copy.deepcopy(dict(record)), LOAD_POINTS, MOVE)
    with pytest.raises(ConfigError, match=f"'{key}'.*meta_keys of Pack3DDetInputs"):
        scene_motion({name: value for name, value in results.items() if name != key})
