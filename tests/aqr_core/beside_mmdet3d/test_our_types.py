"""Our parts in plain models of mmdet3d, and every way to get a pipeline or a model wrong."""

from __future__ import annotations

import copy
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import mmdet.registry
import mmengine.registry
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub

import aqr_core.registry
from aqr_core.data.faults import suites  # noqa: F401 - registers faults, which are transforms too
from aqr_core.errors import ConfigError, DataError
from aqr_core.mmdet3d.names import register_free_names
from aqr_core.mmdet3d.transforms import AqrTransforms
from aqr_core.models.backbones import VoVNet


@pytest.fixture(autouse=True)
def no_run(request):
    """mmengine keeps what it knows of a run for the whole process, and the newest hub is the current one."""
    MessageHub.get_instance(request.node.name)


@pytest.fixture
def config(mmdet3d_config, driven):
    return mmdet3d_config("cmt_tiny", driven)


@pytest.fixture
def batch(config) -> dict[str, Any]:
    """One collated training sample."""
    np.random.seed(0)  # noqa: NPY002
    return pseudo_collate([DATASETS.build(config.train_dataloader.dataset)[1]])


@pytest.fixture
def preprocessor():
    return MODELS.build(dict(type="AqrDataPreprocessor"))


def test_every_part_is_there_with_its_scope_and_free_names_without():
    taken = {*mmengine.registry.MODELS.module_dict, *mmdet.registry.MODELS.module_dict}
    for name, part in aqr_core.registry.MODELS.module_dict.items():
        assert MODELS.get(f"aqr.{name}") is part
        if name in taken:
            assert MODELS.get(name) is not part
    assert {"VoVNet", "CPFPN", "CmtHead", "AQRWeightGenerator", "RouterHead"} <= set(MODELS.module_dict)
    assert MODELS.get("SECOND").__module__.startswith("mmdet3d.")
    assert register_free_names() == []  # a second time nothing is left to register


def test_our_backbones_serve_in_a_plain_model_of_theirs(config):
    """MVX-FasterRCNN's image and point branches, with our backbones and theirs mixed."""
    vovnet = dict(type="VoVNet", spec_name="V-19-slim-eSE", out_features=("stage4", "stage5"), norm_eval=True)
    model = MODELS.build(
        dict(
            type="MVXFasterRCNN",
            img_backbone=dict(vovnet, type="aqr.VoVNet"),
            img_neck=dict(type="mmdet.FPN", in_channels=[384, 512], out_channels=32, num_outs=2),
            pts_backbone=dict(
                type="aqr.SECOND", in_channels=64, out_channels=[32, 64], layer_nums=[1, 1], layer_strides=[1, 2]
            ),
            pts_neck=dict(type="SECONDFPN", in_channels=[32, 64], out_channels=[16, 16], upsample_strides=[1, 2]),
        )
    )
    model.init_weights()
    assert type(model.img_backbone) is VoVNet and type(MODELS.build(vovnet)) is VoVNet
    with torch.no_grad():
        features = model.extract_img_feat(torch.rand(2, 3, 64, 96), [{}, {}])
        bev = model.pts_neck(model.pts_backbone(torch.rand(1, 64, 16, 16)))
    assert [tuple(f.shape) for f in features] == [(2, 32, 4, 6), (2, 32, 2, 3)] and bev[0].shape == (1, 32, 16, 16)


def test_a_part_refuses_an_unknown_argument():
    with pytest.raises(TypeError, match="'depht'"):
        MODELS.build(dict(type="aqr.ResNet", depht=18))


@pytest.mark.parametrize(
    "change, sentence",
    [
        (dict(pts_backbon=None), "CmtDetector does not take 'pts_backbon'. Did you mean 'pts_backbone'?"),
        (dict(img_neck=None), "The model has a img_backbone branch without 'img_neck'; give all of it or none."),
        (dict(pts_backbone=dict(type="SECOND", in_chanels=1)), "SECOND does not take 'in_chanels'. Did you mean"),
        (dict(pts_backbone=dict(type="SECNOD")), "Unknown model type 'SECNOD'. Did you mean 'SECOND'?"),
        (dict(init_cfg=dict(type="Kaiming")), "init_cfg of CmtDetector is {'type': 'Kaiming'}; give dict(type='Pre"),
        (dict(frozen=["img_backbon"]), "Nothing to freeze is called 'img_backbon'. Did you mean 'img_backbone'?"),
    ],
)
def test_a_wrong_model_section_is_one_sentence(config, change, sentence):
    model = {**config.model, **change}
    with pytest.raises(ConfigError) as caught:
        MODELS.build(model)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_frozen_parts_stay_as_they_are(config, batch):
    model = MODELS.build(dict(config.model, frozen=["img_backbone", "pts_middle_encoder"])).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    data = model.data_preprocessor(batch, True)
    model.parse_losses(model(**data, mode="loss"))[0].backward()
    optimizer.step()
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"img_neck", "pts_backbone", "pts_bbox_head"} <= changed
    assert not changed & {"img_backbone", "pts_middle_encoder"}


def test_tensor_mode_gives_scores_and_codes_of_every_layer(config, batch):
    model = MODELS.build(config.model).eval()
    with torch.no_grad():
        scores, codes = model(**model.data_preprocessor(batch), mode="tensor")
    assert scores.shape == (3, 1, 100, 10) and codes.shape == (3, 1, 100, 10)


def damage(change: str, data: dict[str, Any]) -> None:
    inputs, sample = data["inputs"], data["data_samples"][0]
    if change == "no sensors":
        inputs.clear()
    elif change == "four columns":
        inputs["points"][0] = inputs["points"][0][:, [0, 1, 2, 4]]
    elif change == "ring":
        inputs["points"][0][:, 4] = torch.arange(len(inputs["points"][0])) % 32
    elif change == "negative time":
        inputs["points"][0][:, 4] *= -1
    elif change == "one image":
        inputs["img"][0] = inputs["img"][0][0]
    elif change == "five images":
        inputs["img"][0] = inputs["img"][0][:5]
    elif change == "twice normalised":
        sample.set_metainfo({"img_norm_cfg": dict(mean=np.zeros(3), std=np.ones(3), to_rgb=False)})
    elif change == "rgb":
        sample.set_metainfo({"img_norm_cfg": dict(mean=np.ones(3), std=np.ones(3), to_rgb=True)})
    elif change == "no samples":
        data["data_samples"] = None
    elif change == "no velocity":
        sample.gt_instances_3d.bboxes_3d = LiDARInstance3DBoxes(sample.gt_instances_3d.bboxes_3d.tensor[:, :7])
    elif change in ("lidar2cam", "cam2img"):
        sample.pop(change)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ("no sensors", "The batch has neither 'points' nor 'img', but nothing; load a sensor"),
        ("four columns", r"Points have shape \(\d+, 4\), and CMT reads x, y, z, intensity, age; set load_dim=5 and"),
        ("ring", "The fifth column of the points runs from 0 to 31, .* ring number .* add LoadPointsFromMultiSweeps"),
        ("negative time", "The fifth column of the points runs from -0.0999999 to"),
        ("one image", r"'img' has shape \(3, 128, 352\), and CMT reads \(cameras, 3, height, width\)"),
        ("five images", "'cam2img' holds 6 matrices of shapes .* for 5 images; give one 3x3 or 4x4 each"),
        ("twice normalised", r"Images hold -\d.*, so they were normalised, but .* normalised twice; remove Normalize"),
        ("rgb", "Images were turned to RGB, and CMT reads BGR; set to_rgb=False"),
        ("no samples", "The batch has no data_samples, which carry the cameras; pack it with PackAqrInputs"),
        ("no velocity", "gt_bboxes_3d have 7 numbers, and CMT needs 9 with the velocity; set with_velocity=True"),
        ("lidar2cam", "The sample has 6 images but no 'lidar2cam'; load them with LoadMultiViewImageFromFiles"),
        ("cam2img", "The sample has 6 images but no 'cam2img'"),
    ],
)
def test_a_wrong_batch_is_one_sentence(preprocessor, batch, change, sentence):
    damage(change, batch)
    with pytest.raises(ConfigError, match=sentence) as caught:
        preprocessor(batch, True)
    assert "\n" not in str(caught.value)


def test_images_of_several_sizes_are_one_sentence(preprocessor, batch):
    other = copy.deepcopy(batch)
    other["inputs"]["img"][0] = other["inputs"]["img"][0][..., :-32]
    both = {
        "inputs": {key: batch["inputs"][key] + other["inputs"][key] for key in ("points", "img")},
        "data_samples": batch["data_samples"] + other["data_samples"],
    }
    with pytest.raises(ConfigError, match="Samples of one batch have images of shapes"):
        preprocessor(both, True)


def test_test_time_augmentation_is_refused(preprocessor, batch):
    with pytest.raises(ConfigError, match="no test-time augmentation"):
        preprocessor([batch, batch])


@pytest.mark.parametrize(
    "change, sentence",
    [
        ("points", "The model has a LiDAR branch, the batch no 'points'; load them, or drop the branch"),
        ("img", "The model has an image branch, the batch no 'img'; load the images, or drop the branch"),
        ("boxes", r"Training samples have no gt_bboxes_3d and gt_labels_3d; add LoadAnnotations3D\("),
        ("labels", "gt_labels_3d hold -1, objects of no class; add ObjectNameFilter to the pipeline"),
        ("classes", "The dataset counts the classes truck, car, the head car, truck, .* set metainfo=dict"),
    ],
)
def test_a_batch_that_does_not_fit_the_model_is_one_sentence(config, batch, change, sentence):
    sample = batch["data_samples"][0]
    if change in ("points", "img"):
        del batch["inputs"][change]
    elif change == "boxes":
        del sample.gt_instances_3d.bboxes_3d
    elif change == "labels":
        sample.gt_instances_3d.labels_3d[0] = -1
    elif change == "classes":
        MessageHub.get_current_instance().update_info("dataset_meta", {"classes": ("truck", "car")})
    model = MODELS.build(config.model).train()
    with pytest.raises(ConfigError, match=sentence):
        model(**model.data_preprocessor(batch, True), mode="loss")


def test_aqr_loss_asks_which_sensors_work(mmdet3d_config, driven):
    config = mmdet3d_config("cmt_aqr_tiny", driven)
    config.model.pts_bbox_head.aqr_loss = dict(type="SensorLoss")
    section = config.train_dataloader.dataset
    steps = list(section.pipeline)
    steps[-2].transforms.insert(0, dict(type="ModalMask3D", mask_modal="image"))
    blank = pseudo_collate([DATASETS.build(dict(section, pipeline=steps))[0]])
    model = MODELS.build(config.model).train()
    data = model.data_preprocessor(blank, True)
    assert data["inputs"].working.tolist() == [[True, False]] and data["inputs"].images.std() < 0.2
    assert "loss_aqr" in model(**data, mode="loss")
    steps[-1] = dict(type="Pack3DDetInputs", keys=["points", "img", "gt_bboxes_3d", "gt_labels_3d"])
    silent = pseudo_collate([DATASETS.build(dict(section, pipeline=steps))[0]])
    with pytest.raises(ConfigError, match="aqr_loss needs to know which sensors work, .* pack with PackAqrInputs"):
        model(**model.data_preprocessor(silent, True), mode="loss")


def test_raw_images_are_normalised_once_by_the_preprocessor(config, preprocessor, driven):
    """uint8, or float32 as mmdet3d's `to_float32` leaves it, or normalised by our transform: the same pixels."""
    section = config.test_dataloader.dataset
    steps = list(section.pipeline)
    raw = [step for step in steps[-2].transforms if step.type != "NormalizeMultiviewImage"]
    got = []
    for changes in ({}, {"raw": True}, {"raw": True, "float": True}):
        pipeline = copy.deepcopy(steps)
        if "raw" in changes:
            pipeline[-2].transforms = raw
        pipeline[-4 + 1].to_float32 = "float" in changes
        got.append(preprocessor(pseudo_collate([DATASETS.build(dict(section, pipeline=pipeline))[0]]))["inputs"].images)
    for other in got[1:]:
        torch.testing.assert_close(other, got[0], rtol=0, atol=1e-5 if other is got[1] else 0.02)


def test_our_transforms_refuse_what_they_cannot_read(config):
    data = DATASETS.build(config.test_dataloader.dataset)
    record = dict(data.get_data_info(0), box_type_3d=data.box_type_3d)
    steps = [TRANSFORMS.build(step) for step in config._load_sensors]
    scene = AqrTransforms([dict(type="GlobalRotScaleTransAll")])
    for step in steps:
        record = step(record)
    four = dict(record, points=record["points"][:, [0, 1, 2, 3]])
    with pytest.raises(ConfigError, match=r"Points are LiDARPoints of shape \(\d+, 4\); load them with"):
        scene(four)
    with pytest.raises(ConfigError, match="The result dict has no 'lidar_points'; AqrTransforms works on NuScenesData"):
        scene({key: value for key, value in record.items() if key != "lidar_points"})
    with pytest.raises(ConfigError, match="'img' is one image, and CMT reads all cameras"):
        scene(dict(record, img=record["img"][0]))
    with pytest.raises(DataError, match="lidar2ego"):
        scene(dict(record, lidar_points={"lidar_path": record["lidar_points"]["lidar_path"]}))
    with pytest.raises(ConfigError, match="does not take 'rot'"):
        AqrTransforms([dict(type="GlobalRotScaleTransAll", rot=1)])


def test_a_scene_that_moved_before_our_loading_of_images_is_refused(config):
    section = config.test_dataloader.dataset
    steps = [
        *config._load_sensors[:2],
        dict(type="GlobalRotScaleTrans", translation_std=[1, 1, 1]),
        dict(type="AqrTransforms", transforms=[dict(type="LoadMultiViewImageFromFiles")]),
    ]
    with pytest.raises(ConfigError, match="The scene was moved before LoadMultiViewImageFromFiles"):
        DATASETS.build(dict(section, pipeline=steps))[0]


def test_steps_end_with_their_epoch_when_the_hook_tells_it(config):
    section = dict(config.train_dataloader.dataset)
    mirror = dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=1.0, flip_ratio_bev_vertical=0.0, until_epoch=2)
    steps = [*section["pipeline"][:-2], dict(type="AqrTransforms", transforms=[mirror]), dict(type="PackAqrInputs")]
    data = DATASETS.build(dict(type="CBGSDataset", dataset=dict(section, pipeline=steps)))
    with pytest.raises(
        ConfigError, match=r"until_epoch, and nobody tells the epoch; add custom_hooks=\[dict\(type='Aqr"
    ):
        data[0]
    hook = HOOKS.build(dict(type="AqrHook"))
    seen = []
    for epoch in (0, 1, 2):
        hook.before_train_epoch(SimpleNamespace(train_dataloader=SimpleNamespace(dataset=data), epoch=epoch))
        seen.append(data[0]["data_samples"].lidar2cam[0])
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_allclose(seen[2], seen[0] @ np.diag([1, -1, 1, 1]), atol=1e-9)


def test_the_hook_compares_classes_before_a_test(config):
    model = MODELS.build(config.model)
    hook = HOOKS.build(dict(type="AqrHook"))
    section = dict(config.test_dataloader.dataset)
    data = DATASETS.build(section)
    runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=data))
    hook.before_test(runner)
    section.pop("metainfo")
    runner.test_dataloader.dataset = DATASETS.build(section)
    with pytest.raises(
        ConfigError, match="The dataset counts the classes car, truck, trailer, .* mixed up; set metainfo"
    ):
        hook.before_test(runner)


def test_the_full_size_config_names_what_exists(mmdet3d_config, driven):
    """Its model is that of our own config, and the rates are those of its groups."""
    from aqr_core.config import load_config

    config = mmdet3d_config("cmt_aqr_voxel0100_r50_800x320", driven)
    ours = load_config("cmt_aqr_voxel0100_r50_800x320_cbgs")
    model = config.model.to_dict()
    assert model.pop("frozen") == ["img_backbone", "pts_middle_encoder", "pts_backbone"]
    assert model.pop("init_cfg") == dict(type="Pretrained", checkpoint="cmt_r50.pth")
    assert model == ours.model.to_dict()
    rates = config.optim_wrapper.paramwise_cfg.custom_keys
    expected = {
        key.removesuffix(".*"): one.lr_mult for key, one in ours.optimizer.param_groups.items() if "lr_mult" in one
    }
    assert {key: one.lr_mult for key, one in rates.items()} == expected
    with pytest.raises(DataError, match="finds no object database"):  # every step exists, the database does not
        DATASETS.build(config.train_dataloader.dataset)


def test_without_mmdet3d_the_import_is_one_sentence():
    hide = "import sys; sys.modules['mmcv'] = None; import importlib.util as u; old = u.find_spec\n"
    hide += "u.find_spec = lambda name, *a: None if name == 'mmcv' else old(name, *a)\nimport aqr_core.mmdet3d"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", hide], capture_output=True, text=True)
    assert "aqr_core.mmdet3d needs mmdet3d, but mmcv is not installed; run `make mmdet3d`" in done.stderr
