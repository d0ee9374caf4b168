"""float64 agrees with float32: heads, boxes, losses and gradients; half precision is lifted before logarithms."""

from __future__ import annotations

import copy

import pytest
import torch

from aqr_core.models.aqr.projection import MapShapes
from aqr_core.models.precision import at_least_float32

ATOL = dict(cls_logits=1e-4, center=1e-3, height=1e-4, dim=1e-4, rot=1e-4, vel=1e-4)


def in_double(inputs):
    return tuple(x.double() if isinstance(x, torch.Tensor) else x for x in inputs)


@pytest.mark.parametrize("name", ["head_dev", "head_lidar_dev", "head_image_dev"])
def test_golden_heads_in_float64_equal_the_official_ones(load_golden, name):
    golden = load_golden(name)
    head = copy.deepcopy(golden.head).double()
    with torch.no_grad():
        out = head(*in_double(golden.inputs()))
        decoded = head.decode(out)
    for branch, atol in ATOL.items():
        for task, ours in enumerate(getattr(out, branch)):
            assert ours.dtype == torch.float64
            torch.testing.assert_close(ours.float(), golden.tensor(f"task{task}/{branch}"), atol=atol, rtol=1e-4)
    for sample, (boxes, scores, labels) in enumerate(decoded):
        assert boxes.dtype == scores.dtype == torch.float64
        torch.testing.assert_close(boxes.float(), golden.tensor(f"dec{sample}/boxes_gravity"), atol=1e-3, rtol=0)
        assert torch.equal(labels, golden.tensor(f"dec{sample}/labels"))


@pytest.mark.parametrize("kind", ["CmtHead", "CmtLidarHead", "CmtImageHead"])
def test_losses_and_gradients_in_float64(build_tiny_head, tiny_inputs, tiny_truth, kind):
    single = build_tiny_head(type=kind).eval()
    double = copy.deepcopy(single).double()
    boxes, labels = tiny_truth
    results = []
    for head, inputs, truth in (
        (single, tiny_inputs, boxes),
        (double, in_double(tiny_inputs), [box.double() for box in boxes]),
    ):
        out = head(*inputs, head.make_denoising(truth, labels, seeds=[1, 2]))
        losses = head.loss(out, truth, labels)
        sum(losses.values()).backward()
        results.append((losses, dict(head.named_parameters())))
    (losses32, parameters32), (losses64, parameters64) = results
    for name, value in losses64.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(losses32[name].double(), value, rtol=1e-4, atol=0, msg=name)
    for name, parameter in parameters64.items():
        error = (parameters32[name].grad.double() - parameter.grad).norm()
        assert error <= 1e-3 * parameter.grad.norm() + 1e-6, name


def test_half_precision_is_lifted_and_float64_kept():
    dtypes = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float32}
    for given, expected in {**dtypes, torch.float64: torch.float64}.items():
        assert at_least_float32(torch.zeros(1, dtype=given)).dtype == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_task_heads_compute_in_float32_under_autocast(build_tiny_head, dtype):
    head = build_tiny_head().eval()
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(head.transformer.num_layers, 2, head.num_query, head.hidden_dim, generator=generator)
    reference = head.reference_points.weight.expand(2, -1, -1)
    with torch.no_grad():
        plain = head.predict_boxes(queries, reference)
        with torch.autocast("cpu", dtype):
            under_autocast = head.predict_boxes(queries, reference)
    for branch in ATOL:
        assert torch.equal(getattr(under_autocast, branch)[0], getattr(plain, branch)[0])


def test_codes_of_positions_stay_in_float32_under_autocast(build_tiny_head, tiny_inputs):
    bev, images, lidar2img, pad_shape = tiny_inputs
    head = build_tiny_head().eval()
    shapes = MapShapes((bev.shape[-2], bev.shape[-1]), (images.shape[1], images.shape[-2], images.shape[-1]))
    reference = head.references(2, None)
    with torch.no_grad():
        plain = head.position_codes(reference, shapes, lidar2img, pad_shape)
        with torch.autocast("cpu", torch.bfloat16):
            under_autocast = head.position_codes(reference, shapes, lidar2img, pad_shape)
    assert all(map(torch.equal, under_autocast, plain))
