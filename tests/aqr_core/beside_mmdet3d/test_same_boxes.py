"""The same weights and the same keyframe give the same boxes and losses here and there."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.runner import autocast as mmengine_autocast
from mmengine.runner import load_checkpoint, save_checkpoint

import aqr_train.weights
from aqr_core.checkpoint import load_weights
from aqr_core.config import load_config
from aqr_core.data import NuScenesDataset
from aqr_core.data.collate import collate
from aqr_core.errors import CheckpointError
from aqr_core.infos.mmdet3d import Mmdet3dInfos
from aqr_core.models import build_detector
from aqr_core.structures import Batch

SHIPPED = Path(aqr_train.weights.__path__[0]) / "cmt_tiny"
# Our config, and the one of the same model for mmdet3d.
MODEL_CONFIGS = {"cmt_tiny": "cmt_tiny", "cmt_aqr_tiny_scratch": "cmt_aqr_tiny"}


@pytest.fixture(scope="module", params=MODEL_CONFIGS)
def ours(request: pytest.FixtureRequest) -> Any:
    """Our detector with trained weights; where it has AQR, with one that has learned something."""
    config = load_config(request.param)
    torch.manual_seed(0)
    model = build_detector(config.model).eval()
    load_weights(model, SHIPPED, strict=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "aqr_weight_generator" in name or "attention_bias" in name:
                parameter += 0.2 * torch.randn_like(parameter)
    model.config_name = request.param
    return model


@pytest.fixture
def theirs(ours: Any, mmdet3d_config, created: Path) -> Any:
    """mmdet3d's detector of the same config with the same weights."""
    config = mmdet3d_config(MODEL_CONFIGS[ours.config_name], created)
    model = MODELS.build(config.model).eval()
    assert model.load_state_dict(ours.state_dict(), strict=True).missing_keys == []
    return model


def their_dataset(config: Any, split: str, ours_loads: bool = False) -> Any:
    section = copy.deepcopy(config[f"{split}_dataloader"].dataset)
    if ours_loads:
        section.pipeline = [dict(type="AqrTransforms", transforms=config.data.val.pipeline), dict(type="PackAqrInputs")]
    return DATASETS.build(section)


def our_dataset(root: Path, split: str, pipeline: list[Any], **arguments: Any) -> NuScenesDataset:
    infos = Mmdet3dInfos.open(root / f"nuscenes_infos_{split}.pkl")
    return NuScenesDataset(root, infos, pipeline, **arguments)


def assert_same_boxes(mine: Any, sample: Any) -> None:
    found = sample.pred_instances_3d
    assert type(found.bboxes_3d) is LiDARInstance3DBoxes and found.bboxes_3d.box_dim == 9
    assert len(found.scores_3d) == len(mine.scores) > 50
    rows = torch.cat([found.bboxes_3d.gravity_center, found.bboxes_3d.tensor[:, 3:]], dim=1)
    torch.testing.assert_close(found.scores_3d, mine.scores, rtol=0, atol=2e-5)
    # Boxes of one score may have changed places.
    order, other = (np.lexsort([r[:, 0].numpy().round(2), r[:, 1].numpy().round(2)]) for r in (mine.boxes, rows))
    torch.testing.assert_close(rows[other], mine.boxes[order], rtol=0, atol=2e-3)
    assert torch.equal(found.labels_3d[other], mine.labels[order])


@pytest.mark.parametrize("ours_loads", [False, True])
def test_the_same_weights_and_keyframe_give_the_same_boxes(ours, theirs, mmdet3d_config, created, ours_loads):
    """With mmdet3d's loading that holds for keyframes without sweeps, or without the error of its sweeps in curves."""
    config = mmdet3d_config(MODEL_CONFIGS[ours.config_name], created)
    data = their_dataset(config, "test", ours_loads)
    reference = our_dataset(created, "val", config.data.val.pipeline, test_mode=True)
    assert len(data) == len(reference) == 3
    for index in range(3 if ours_loads else 1):
        mine = ours.predict(collate([reference[index]]))[0]
        (sample,) = theirs.test_step(pseudo_collate([data[index]]))
        assert sample.token == mine.token
        assert_same_boxes(mine, sample)


def test_aqr_takes_part_in_the_comparison(ours, created):
    """Its bias changes the boxes, so equal boxes say something of it."""
    if ours.config_name == "cmt_tiny":
        assert ours.pts_bbox_head.aqr is None
        return
    sample = our_dataset(created, "val", load_config(ours.config_name).data.val.pipeline, test_mode=True)[0]
    plain = build_detector(load_config("cmt_tiny").model).eval()
    load_weights(plain, SHIPPED, strict=False)
    with_aqr, without = (model.predict(collate([sample]))[0].scores for model in (ours, plain))
    assert (with_aqr - without).abs().max() > 1e-3


def test_the_batch_is_ours_in_every_field(ours, mmdet3d_config, created):
    """mmdet3d's dataset, loading of images and boxes, and the adapter against our own path, on training samples."""
    config = mmdet3d_config(MODEL_CONFIGS[ours.config_name], created)
    section = config.train_dataloader.dataset
    steps = [step for step in section.pipeline if step.type not in ("AqrTransforms",)]
    steps.insert(-1, dict(type="AqrTransforms", transforms=config._prepare))
    data = DATASETS.build(dict(section, pipeline=steps))
    load = [dict(type="LoadAnnotations3D", zero_unknown_velocity=True)]
    reference = our_dataset(created, "train", [*config._load, *load, *config._prepare])
    for index in (0, 1):
        packed = MODELS.build(dict(type="AqrDataPreprocessor"))(pseudo_collate([data[index]]), True)["inputs"]
        own = collate([reference[index]])
        assert packed.tokens == own.tokens
        torch.testing.assert_close(packed.images, own.images, rtol=0, atol=0)
        torch.testing.assert_close(packed.lidar2img, own.lidar2img, rtol=1e-6, atol=1e-4)
        torch.testing.assert_close(packed.gt_boxes[0], own.gt_boxes[0], rtol=0, atol=1e-5)
        assert torch.equal(packed.gt_labels[0], own.gt_labels[0]) and len(own.gt_labels[0]) > 5
        assert len(packed.points[0]) == pytest.approx(len(own.points[0]), rel=0.01)
        if not index:  # without sweeps
            torch.testing.assert_close(packed.points[0], own.points[0], rtol=0, atol=0)


def their_batch(config: Any, indices: tuple[int, ...]) -> tuple[Batch, list[Any]]:
    data = their_dataset(config, "train")
    np.random.seed(5)  # noqa: NPY002 - AqrTransforms seeds its generator from here, as mmengine seeds workers
    done = MODELS.build(dict(type="AqrDataPreprocessor"))(pseudo_collate([data[i] for i in indices]), True)
    return done["inputs"], done["data_samples"]


def test_the_same_batch_and_seeds_give_the_same_losses(ours, theirs, mmdet3d_config, created):
    config = mmdet3d_config(MODEL_CONFIGS[ours.config_name], created)
    batch, samples = their_batch(config, (1, 2))
    assert len(set(batch.seeds)) == 2 and all(len(boxes) for boxes in batch.gt_boxes)
    mine = ours.train()(batch)
    named = theirs.train().loss(batch, samples)
    ours.eval()
    assert set(named) == set(mine) - {"loss"} and all("loss" in name for name in named)
    for name, value in named.items():
        assert torch.equal(value, mine[name]), name
    total, logged = theirs.parse_losses(named)
    assert total.item() == pytest.approx(mine["loss"].item(), rel=1e-6) and logged["loss"] is total
    other = theirs.loss(replace(batch, seeds=[seed + 1 for seed in batch.seeds]), samples)
    assert other["dn_loss_bbox"] != named["dn_loss_bbox"]


def test_seeds_follow_the_sample_the_run_and_the_iteration(mmdet3d_config, created):
    config = mmdet3d_config("cmt_tiny", created)
    hub = MessageHub.get_instance("test_seeds")  # the newest is the current one
    seeds = {}
    for run, iteration in ((0, 0), (0, 1), (1, 0), (0, 0)):
        hub.update_info("seed", run)
        hub.update_info("iter", iteration)
        first = their_batch(config, (0, 1))[0].seeds
        assert first == list(reversed(their_batch(config, (1, 0))[0].seeds))
        assert seeds.setdefault((run, iteration), first) == first
    assert len({seed for pair in seeds.values() for seed in pair}) == 6


def test_augmentation_follows_numpys_generator(mmdet3d_config, created):
    config = mmdet3d_config("cmt_tiny", created)
    data = their_dataset(config, "train")
    drawn = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002
        drawn.append(torch.as_tensor(np.stack(data[1]["data_samples"].lidar2cam)))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_weights_cross_in_both_directions(ours, theirs, tmp_path):
    """mmengine's checkpoint into ours with all its guards, our folder into theirs, every tensor equal."""
    save_checkpoint({"meta": {}, "state_dict": theirs.state_dict()}, str(tmp_path / "theirs.pth"))
    back = build_detector(load_config(ours.config_name).model)
    report = load_weights(back, tmp_path / "theirs.pth")
    assert not report.missing and not report.unexpected
    fresh = MODELS.build(
        dict(load_config(ours.config_name).model, init_cfg=dict(type="Pretrained", checkpoint=SHIPPED))
    )
    fresh.init_weights()
    shipped = build_detector(load_config(ours.config_name).model)
    load_weights(shipped, SHIPPED, strict=False)
    for name, value in ours.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    assert list(fresh.state_dict()) == list(ours.state_dict())
    for name, value in shipped.state_dict().items():
        if "aqr" not in name and "attention_bias" not in name:
            assert torch.equal(fresh.state_dict()[name], value), name


def test_load_from_reads_our_safetensors_and_refuses_another_geometry(theirs, mmdet3d_config, created):
    done = load_checkpoint(theirs, str(SHIPPED / "model.safetensors"))
    assert done["meta"]["dataset_meta"]["classes"][0] == "car"
    config = mmdet3d_config("cmt_tiny", created).model
    config.pts_voxel_layer.voxel_size = config.pts_bbox_head.bbox_coder.voxel_size = [0.25, 0.25, 0.4]
    with pytest.raises(CheckpointError, match="every box would be displaced"):
        load_checkpoint(MODELS.build(config), str(SHIPPED / "model.safetensors"))


def loaded(config: Any, root: Path, index: int) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Points of a keyframe with ten sweeps as mmdet3d's transforms load them and as ours do, row by row; its info."""
    steps = [dict(config._load_sensors[0]), dict(config._load_sensors[1], sweeps_num=10), dict(type="PackAqrInputs")]
    section = dict(config.test_dataloader.dataset, ann_file="nuscenes_infos_train.pkl", pipeline=steps)
    reference = our_dataset(root, "train", [config._load[0], dict(config._load[1], sweeps_num=10)], test_mode=True)
    return DATASETS.build(section)[index]["inputs"]["points"], reference[index].points, reference.info(index)


def test_their_sweeps_are_off_by_the_turn_of_the_vehicle(mmdet3d_config, created):
    """mmdet3d 1.4 adds R^T t where the motion of a sweep is R p + t: off by decimetres in curves."""
    theirs, own, info = loaded(mmdet3d_config("cmt_tiny", created), created, 2)
    want = own[:, :3].clone()
    off = []
    for sweep in info.sweeps:
        turn, shift = sweep.sweep2lidar[:3, :3], sweep.sweep2lidar[:3, 3]
        want[(own[:, 4] - sweep.age).abs() < 1e-4] += torch.as_tensor(turn.T @ shift - shift, dtype=torch.float32)
        off.append(np.linalg.norm(turn.T @ shift - shift))
    assert max(off) > 0.01
    torch.testing.assert_close(theirs[:, :3], want, rtol=0, atol=5e-4)


def test_seconds_and_intensity_are_ours_already(mmdet3d_config, created):
    theirs, own, info = loaded(mmdet3d_config("cmt_tiny", created), created, 2)
    torch.testing.assert_close(theirs[:, 3:], own[:, 3:], rtol=0, atol=1e-6)
    assert sorted({round(float(age), 3) for age in own[:, 4]}) == [0.0, *(round(one.age, 3) for one in info.sweeps)]
    assert 1 < float(own[:, 3].max()) <= 255


def test_bfloat16_leaves_the_islands_in_float32(theirs, mmdet3d_config, created):
    """mmengine's AmpOptimWrapper is this autocast around the model, as our trainer's precision is one."""
    batch, samples = their_batch(mmdet3d_config("cmt_aqr_tiny", created), (1,))
    seen: dict[str, torch.dtype] = {}

    def note(name: str):
        def hook(module, inputs, output):
            tensor = output if isinstance(output, torch.Tensor) else next(iter(output))
            seen[name] = tensor.dtype if isinstance(tensor, torch.Tensor) else None

        return hook

    watched = {"pts_backbone": theirs.pts_backbone, "img_backbone": theirs.img_backbone}
    handles = [module.register_forward_hook(note(name)) for name, module in watched.items()]
    with mmengine_autocast(dtype=torch.bfloat16):
        half = theirs.train().loss(batch, samples)
    for handle in handles:
        handle.remove()
    full = theirs.loss(batch, samples)
    assert seen == {"pts_backbone": torch.float32, "img_backbone": torch.bfloat16}
    for name, value in half.items():
        assert value.dtype == torch.float32 and value.item() == pytest.approx(full[name].item(), rel=0.05, abs=0.02), (
            name
        )
