"""The detector as a whole, with its real head, at a size that runs in milliseconds."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from aqr_core.errors import ConfigError, NonFiniteError
from aqr_core.models import CmtDetector, build_detector, build_head
from aqr_core.models.freezing import freeze_modules

LIDAR = ("pts_voxel_layer", "pts_voxel_encoder", "pts_middle_encoder", "pts_backbone", "pts_neck")
CAMERA = ("img_backbone", "img_neck")


def without(cfg: dict, names: tuple[str, ...]) -> dict:
    return {key: value for key, value in cfg.items() if key not in names}


def test_losses_are_named_scalars_and_loss_is_their_sum(tiny_model, tiny_batch):
    torch.manual_seed(0)
    model = build_detector(tiny_model).train()
    losses = model(tiny_batch)
    terms = [value for name, value in losses.items() if name != "loss"]
    assert {"loss_cls", "loss_bbox", "dn_loss_cls", "d0.loss_cls"} <= losses.keys()
    assert all(value.shape == () for value in losses.values())
    torch.testing.assert_close(losses["loss"], sum(terms))
    losses["loss"].backward()
    without_gradient = [name for name, p in model.named_parameters() if p.grad is None]
    assert without_gradient == []


def test_no_denoising_outside_training(tiny_model, tiny_batch):
    losses = build_detector(tiny_model).eval()(tiny_batch)
    assert not any("dn" in name for name in losses)


def test_predict_gives_one_detection_set_per_sample(tiny_model, tiny_batch):
    model = build_detector(tiny_model).eval()
    first, second = model.predict(tiny_batch)
    assert (first.token, second.token) == ("first", "second")
    for found in (first, second):
        assert found.boxes.shape == (len(found.scores), 9)
        assert not found.boxes.requires_grad
        assert torch.equal(found.scores, found.scores.sort(descending=True).values)


def test_prediction_of_a_sample_does_not_depend_on_its_batch(tiny_model, tiny_batch):
    model = build_detector(tiny_model).eval()
    alone = replace(
        tiny_batch,
        tokens=tiny_batch.tokens[:1],
        points=tiny_batch.points[:1],
        images=tiny_batch.images[:1],
        lidar2img=tiny_batch.lidar2img[:1],
    )
    torch.testing.assert_close(model.predict(alone)[0].scores, model.predict(tiny_batch)[0].scores)


@pytest.mark.parametrize("absent", [LIDAR, CAMERA])
def test_one_branch_is_enough(tiny_model, tiny_batch, absent):
    cfg = without(tiny_model, absent)
    cfg["pts_bbox_head"] = {**cfg["pts_bbox_head"], "type": "CmtImageHead" if absent == LIDAR else "CmtLidarHead"}
    model = build_detector(cfg).train()
    model(tiny_batch)["loss"].backward()
    assert {name.split(".")[0] for name, _ in model.named_parameters()}.isdisjoint(absent)
    assert len(model.eval().predict(tiny_batch)) == 2


def test_children_and_state_dict_prefixes(tiny_model):
    model = build_detector(tiny_model)
    assert {key.split(".")[0] for key in model.state_dict()} == {
        "img_backbone",
        "img_neck",
        "pts_middle_encoder",
        "pts_backbone",
        "pts_neck",
        "pts_bbox_head",
    }


def test_frozen_branches_stay_bit_equal_and_record_no_graph(tiny_model, tiny_batch):
    model = build_detector(tiny_model)
    freeze_modules(model, ["img_*", "pts_middle_encoder", "pts_backbone", "pts_neck"])
    model.train()
    before = copy.deepcopy(model.state_dict())
    assert model.extract_bev(tiny_batch.points).grad_fn is None
    assert model.extract_images(tiny_batch.images).grad_fn is None
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model(tiny_batch)["loss"].backward()
    optimizer.step()
    after = model.state_dict()
    frozen = [key for key in after if not key.startswith("pts_bbox_head")]
    assert frozen and all(torch.equal(after[key], before[key]) for key in frozen)
    assert any(not torch.equal(after[key], before[key]) for key in after if key.startswith("pts_bbox_head"))


def test_sparse_shape_follows_from_the_voxel_layer_unless_given(tiny_model):
    assert build_detector(tiny_model).pts_middle_encoder.sparse_shape == (41, 64, 64)
    given = {**tiny_model, "pts_middle_encoder": {**tiny_model["pts_middle_encoder"], "sparse_shape": (41, 56, 56)}}
    assert build_detector(given).pts_middle_encoder.sparse_shape == (41, 56, 56)


def test_stage_configs_reach_the_head_as_upstream(tiny_model):
    stage = dict(pts=dict(grid_size=[64, 64, 40]))
    model = build_detector({**tiny_model, "train_cfg": stage, "test_cfg": stage})
    assert list(model.pts_bbox_head.bev_cells.grid_size) == [64, 64, 40]


def test_grid_mask_in_training_only(tiny_model, tiny_batch):
    model = build_detector(tiny_model)
    model.grid_mask.probability = 1.0
    seen = []
    model.img_backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.train().extract_images(tiny_batch.images)
    model.eval().extract_images(tiny_batch.images)
    assert (seen[0] == 0).any()
    assert torch.equal(seen[1], tiny_batch.images.flatten(0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(pts_neck=None), "'pts_neck'"),
        (dict(img_backbone=None), "without 'img_backbone'"),
        (dict.fromkeys(LIDAR + CAMERA), "neither image nor LiDAR"),
        (dict(pts_bbox_head=None), "pts_bbox_head"),
        (dict(img_neck=dict(type="CPFN", in_channels=[1], out_channels=1, num_outs=1)), "CPFPN"),
        (dict(img_bakbone=None), "img_backbone"),
    ],
)
def test_incomplete_or_misspelt_config(tiny_model, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_detector({**tiny_model, **changes})


def test_build_head_and_default_type(tiny_model):
    assert build_head(tiny_model["pts_bbox_head"]).num_query == 10
    assert isinstance(build_detector(without(tiny_model, ("type",))), CmtDetector)


def test_scores_that_are_not_finite_are_an_error_not_an_empty_scene(tiny_model, tiny_batch):
    model = build_detector(tiny_model).eval()
    with torch.no_grad():
        model.pts_bbox_head.task_heads[0].cls_logits[0].weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=rf"scores of samples {tiny_batch.tokens[0]}, .* are NaN or infinite"):
        model.predict(tiny_batch)
