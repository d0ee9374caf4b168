"""The head beyond the golden arrays: modalities, shapes, empty truth, errors."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.head.position import RayEmbedding


def test_one_code_path_for_all_modalities(build_tiny_head, tiny_inputs):
    bev, images, lidar2img, pad_shape = tiny_inputs
    fused = build_tiny_head().eval()
    state = fused.state_dict()
    lidar = build_tiny_head(type="CmtLidarHead").eval()
    lidar.load_state_dict({k: v for k, v in state.items() if not k.startswith("rv_embedding")})
    camera = build_tiny_head(type="CmtImageHead").eval()
    camera.load_state_dict({k: v for k, v in state.items() if not k.startswith("shared_conv")})
    with torch.no_grad():
        for single, inputs in ((lidar, (bev, None)), (camera, (None, images))):
            expected = fused(*inputs, lidar2img, pad_shape)
            torch.testing.assert_close(single(bev, images, lidar2img, pad_shape).center[0], expected.center[0])
    with pytest.raises(ConfigError, match="CmtHead got neither"):
        fused(None, None, lidar2img, pad_shape)
    with pytest.raises(ConfigError, match="without lidar2img"):
        fused(bev, images, None, pad_shape)


def test_output_shapes(build_tiny_head, tiny_inputs, tiny_truth):
    head = build_tiny_head()
    out = head(*tiny_inputs, head.make_denoising(*tiny_truth, seeds=[1, 2]))
    widths = dict(cls_logits=10, center=2, height=1, dim=3, rot=2, vel=2)
    for name, width in widths.items():
        assert getattr(out, name)[0].shape == (3, 2, 100, width)
        assert getattr(out.denoising.predictions, name)[0].shape == (3, 2, 60, width)


def test_several_tasks_share_the_queries(build_tiny_head, tiny_inputs, tiny_truth):
    head = build_tiny_head(tasks=[dict(num_class=4), dict(num_class=6)])
    out = head(*tiny_inputs, head.make_denoising(*tiny_truth, seeds=[1, 2]))
    assert [logits.shape[-1] for logits in out.cls_logits] == [4, 6]
    losses = head.loss(out, *tiny_truth)
    assert all(value.isfinite() and value > 0 for value in losses.values())
    for boxes, scores, labels in head.decode(out):
        assert boxes.shape == (len(scores), 9) and (scores[:-1] >= scores[1:]).all()
        assert labels.max() > 3


def test_empty_ground_truth_has_finite_losses_and_gradients(build_tiny_head, tiny_inputs, tiny_truth):
    boxes, labels = tiny_truth
    none, no_label = torch.zeros(0, 9), torch.zeros(0, dtype=torch.long)
    for truth in (([none, boxes[1]], [no_label, labels[1]]), ([none, none], [no_label, no_label])):
        head = build_tiny_head()
        plan = head.make_denoising(*truth, seeds=[1, 2])
        assert (plan is None) == (len(truth[0][1]) == 0)
        losses = head.loss(head(*tiny_inputs, plan), *truth)
        assert all(value.isfinite() for value in losses.values())
        sum(losses.values()).backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_bad_predictions_surface_in_the_loss(build_tiny_head, tiny_inputs, tiny_truth):
    head = build_tiny_head()
    head.task_heads[0].vel[-1].bias.data[0] = float("nan")
    losses = head.loss(head(*tiny_inputs), *tiny_truth)
    assert losses["d0.loss_bbox"].isnan() and losses["loss_cls"].isfinite()


def test_activation_checkpointing_changes_nothing(build_tiny_head, tiny_inputs, tiny_truth):
    gradients = []
    for with_cp in (False, True):
        head = build_tiny_head()
        for layer in head.transformer.decoder.layers:
            layer.with_cp = with_cp
        torch.manual_seed(3)
        sum(head.loss(head(*tiny_inputs), *tiny_truth).values()).backward()
        gradients.append(head.reference_points.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_bev_codes_are_metric_unless_grid_size_stretches_them(build_tiny_head):
    # 30 cells of 1.6 m cover 48 of 64 m. The metric code of cell 29 is that of cell 29 of a full map.
    full = build_tiny_head().bev_position((40, 40)).view(40, 40, -1)
    part = build_tiny_head().bev_position((30, 30)).view(30, 30, -1)
    torch.testing.assert_close(part, full[:30, :30])
    config = dict(train_cfg=dict(pts=dict(grid_size=[120, 120, 40])))
    stretched = build_tiny_head(**config).bev_position((30, 30)).view(30, 30, -1)
    assert not torch.allclose(stretched, part)
    with pytest.raises(ConfigError, match="40 x 40 cells.*gives 30 x 30"):
        build_tiny_head(**config).bev_position((40, 40))


def test_rectangular_maps_keep_x_and_y_apart(build_tiny_head):
    head = build_tiny_head()
    wide = head.bev_position((20, 40)).view(20, 40, -1)
    torch.testing.assert_close(wide, head.bev_position((40, 40)).view(40, 40, -1)[:20])


def test_ray_embedding_equals_its_mlp_on_the_points():
    torch.manual_seed(0)
    embedding = RayEmbedding(16, 32, (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)).double()
    direction, origin = torch.randn(2, 40, 3, dtype=torch.float64)
    mlp = torch.nn.Sequential(*embedding)
    torch.testing.assert_close(embedding(direction, origin), mlp(embedding.ray_points(direction, origin)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(hidden_dim=64), "embed_dims is 128, hidden_dim is 64"),
        (dict(num_querys=3), "num_querys.*num_query"),
        (dict(loss_cls=dict(type="FocalLoss", use_sigmoid=False)), "use_sigmoid=False"),
        (dict(loss_bbox=dict(type="L1Loss", reduction="sum")), "'sum'"),
        (
            dict(
                train_cfg=dict(
                    assigner=dict(
                        type="HungarianAssigner3D",
                        cls_cost=dict(type="FocalLossCost"),
                        reg_cost=dict(type="BBox3DL1Cost"),
                        iou_cost=dict(type="IoUCost", weight=1.0),
                    )
                )
            ),
            "IoUCost weight is 1.0",
        ),
    ],
)
def test_bad_settings_are_named(build_tiny_head, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_tiny_head(**changes)


def test_score_threshold_and_range_drop_boxes(build_tiny_head, tiny_inputs):
    head = build_tiny_head().eval()
    out = head(*tiny_inputs)
    assert all(len(scores) <= 100 for _, scores, _ in head.decode(out))
    head.bbox_coder.score_threshold = 1.0
    assert all(len(scores) == 0 for _, scores, _ in head.decode(out))


def test_a_head_without_queries_is_refused(build_tiny_head):
    with pytest.raises(ConfigError, match="num_query is 0"):
        build_tiny_head(num_query=0)
