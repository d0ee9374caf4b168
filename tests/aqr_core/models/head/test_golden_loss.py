"""Losses, matching, denoising and gradients against the official ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence


def test_assignments_and_costs_equal_the_official_ones(load_golden):
    golden = load_golden("loss_dev")
    head = golden.head
    boxes, labels = golden.ground_truth()
    with torch.no_grad():
        out = head(*golden.inputs())
        targets = pad_sequence([head.bbox_coder.encode(b) for b in boxes], True)
        padded = pad_sequence(labels, True)
        codes = out.box_codes(0)
        matches = head.criterion.assigner.assign(out.cls_logits[0], codes, targets, padded, [7, 4])
        cost = head.criterion.assigner.cost(out.cls_logits[0], codes, targets, padded)
    for layer in range(6):
        for sample in range(2):
            own = (matches.layer == layer) & (matches.sample == sample)
            prefix = f"nodn/L{layer}/b{sample}"
            assert torch.equal(matches.query[own], golden.tensor(f"{prefix}/query_idx"))
            assert torch.equal(matches.box[own], golden.tensor(f"{prefix}/gt_idx_original"))
    official = golden.tensor("nodn/cost_cls_last_b0") + golden.tensor("nodn/cost_reg_last_b0")
    order = golden.tensor("gt0/class_sort_perm")
    torch.testing.assert_close(cost[-1, 0][:, order], official, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(targets[0][order], golden.tensor("nodn/target_norm_b0"), equal_nan=True)


def test_losses_without_denoising_equal_the_official_ones(load_golden):
    golden = load_golden("loss_dev")
    with torch.no_grad():
        losses = golden.head.loss(golden.head(*golden.inputs()), *golden.ground_truth())
    names = [f"d{layer}." for layer in range(5)] + [""]
    assert set(losses) == {prefix + term for prefix in names for term in ("loss_cls", "loss_bbox")}
    for term in ("loss_cls", "loss_bbox"):
        ours = np.array([float(losses[prefix + term]) for prefix in names])
        np.testing.assert_allclose(ours, golden.arrays[f"nodn/{term}"], rtol=1e-4)


@pytest.fixture(scope="module")
def training_pass(load_golden):
    """Head output, plan and losses of the official noise."""
    golden = load_golden("loss_dev")
    boxes, labels = golden.ground_truth()
    noise = golden.tensor("dn/rand01").view(3, 11, 3) * 2 - 1
    plan = golden.head.denoising_from_noise(boxes, labels, [noise[:, :7], noise[:, 7:]])
    golden.head.zero_grad()
    out = golden.head(*golden.inputs(), plan)
    losses = golden.head.loss(out, boxes, labels)
    sum(losses.values()).backward()
    return golden, plan, out, {name: float(value.detach()) for name, value in losses.items()}


def test_denoising_plan_equals_the_official_one(training_pass):
    golden, plan, _, _ = training_pass
    assert plan.num_slots == int(golden.arrays["dn/pad_size"])
    reference = golden.tensor("dn/padded_reference_points")[:, : plan.num_slots]
    torch.testing.assert_close(plan.reference_points, reference, atol=1e-6, rtol=0)
    assert torch.equal(plan.attn_mask, golden.tensor("dn/attn_mask"))
    assert torch.equal(plan.slot, golden.tensor("dn/map_known_indice"))
    assert torch.equal(plan.batch_index, golden.tensor("dn/batch_idx").repeat(3))
    assert torch.equal(plan.labels, golden.tensor("dn/known_labels"))
    assert torch.equal(plan.box_labels, golden.tensor("dn/known_labels_raw"))
    torch.testing.assert_close(plan.boxes, golden.tensor("dn/known_boxes_gravity"), equal_nan=True)


def test_training_outputs_equal_the_official_ones(training_pass):
    golden, _, out, _ = training_pass
    for name in ("cls_logits", "center", "height", "dim", "rot", "vel"):
        atol = 1e-3 if name == "center" else 1e-4
        ours, noised = getattr(out, name)[0][-1], getattr(out.denoising.predictions, name)[0][-1]
        torch.testing.assert_close(ours, golden.tensor(f"task0/{name}_last"), atol=atol, rtol=1e-4)
        torch.testing.assert_close(noised, golden.tensor(f"task0/dn_{name}_last"), atol=atol, rtol=1e-4)


def test_training_losses_equal_the_official_ones(training_pass):
    golden, _, _, losses = training_pass
    official = {k.removeprefix("loss/"): float(golden.arrays[k]) for k in golden.arrays if k.startswith("loss/")}
    total = official.pop("total")
    assert set(losses) == set(official)
    for name, value in official.items():
        assert losses[name] == pytest.approx(value, rel=1e-4), name
    assert sum(losses.values()) == pytest.approx(total, rel=1e-4)


def test_gradients_equal_the_official_ones(training_pass):
    golden, _, _, _ = training_pass
    official = json.loads(bytes(golden.arrays["gradnorm_json"]))
    ours = {name: float(p.grad.norm()) for name, p in golden.head.named_parameters() if p.grad is not None}
    assert set(ours) == set(official)
    for name, value in official.items():
        assert ours[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    grad = golden.head.reference_points.weight.grad
    torch.testing.assert_close(grad, golden.tensor("grad/reference_points"), rtol=1e-3, atol=1e-3)
