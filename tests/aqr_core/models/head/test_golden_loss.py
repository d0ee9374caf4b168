"""Losses, matching, denoising and gradients against the official ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

BRANCHES = ("cls_logits", "center", "height", "dim", "rot", "vel")


def matches_of(golden, predictions, boxes, labels):
    """Assignment, cost and encoded targets of a file with one task."""
    criterion = golden.head.criterion
    targets = pad_sequence([criterion.box_coder.encode(box) for box in boxes], True)
    padded, counts = pad_sequence(labels, True), [len(box) for box in boxes]
    logits, codes = predictions.cls_logits[0], predictions.box_codes(0)
    cost = criterion.assigner.cost(logits, codes, targets, padded)
    return criterion.assigner.assign(logits, codes, targets, padded, counts), cost, targets


def assert_pairs(golden, matches, prefix, layer, sample):
    own = (matches.layer == layer) & (matches.sample == sample)
    assert torch.equal(matches.query[own], golden.tensor(f"{prefix}/L{layer}/b{sample}/query_idx"))
    assert torch.equal(matches.box[own], golden.tensor(f"{prefix}/L{layer}/b{sample}/gt_idx_original"))


def test_assignments_and_costs_equal_the_official_ones(load_golden, loss_file):
    golden = load_golden(loss_file)
    if len(golden.tasks) > 1:
        pytest.skip("the pairs of several tasks are not told apart in the file")
    boxes, labels = golden.ground_truth()
    with torch.no_grad():
        matches, cost, targets = matches_of(golden, golden.head(*golden.inputs()), boxes, labels)
    for layer in range(golden.config["num_layers"]):
        for sample in range(golden.config["bs"]):
            assert_pairs(golden, matches, "nodn", layer, sample)
    official = golden.tensor("nodn/cost_cls_last_b0") + golden.tensor("nodn/cost_reg_last_b0")
    order = golden.tensor("gt0/class_sort_perm")
    torch.testing.assert_close(cost[-1, 0][:, order], official, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(targets[0][order], golden.tensor("nodn/target_norm_b0"), equal_nan=True)


def test_losses_without_denoising_equal_the_official_ones(load_golden, loss_file):
    golden = load_golden(loss_file)
    with torch.no_grad():
        losses = golden.head.loss(golden.head(*golden.inputs()), *golden.ground_truth())
    names = [f"d{layer}." for layer in range(golden.config["num_layers"] - 1)] + [""]
    assert set(losses) == {prefix + term for prefix in names for term in ("loss_cls", "loss_bbox")}
    for term in ("loss_cls", "loss_bbox"):
        ours = np.array([float(losses[prefix + term]) for prefix in names])
        np.testing.assert_allclose(ours, golden.arrays[f"nodn/{term}"], rtol=1e-4)


@pytest.fixture(scope="module")
def training_pass(load_golden, loss_file):
    """Head output, plan and losses of the official noise."""
    golden = load_golden(loss_file)
    boxes, labels = golden.ground_truth()
    counts = [len(box) for box in boxes]
    noise = golden.tensor("dn/rand01").view(-1, sum(counts), 3) * 2 - 1  # by group, then sample and box
    plan = golden.head.denoising_from_noise(boxes, labels, noise.split(counts, dim=1))
    golden.head.zero_grad()
    out = golden.head(*golden.inputs(), plan)
    losses = golden.head.loss(out, boxes, labels)
    sum(losses.values()).backward()
    gradients = {name: p.grad.clone() for name, p in golden.head.named_parameters() if p.grad is not None}
    return golden, plan, out, {name: float(value.detach()) for name, value in losses.items()}, gradients


def test_denoising_plan_equals_the_official_one(training_pass):
    golden, plan, *_ = training_pass
    assert plan.num_slots == int(golden.arrays["dn/pad_size"])
    slots, queries = golden.tensor("dn/padded_reference_points").split([plan.num_slots, golden.config["num_query"]], 1)
    torch.testing.assert_close(plan.reference_points, slots, atol=1e-6, rtol=0)
    assert torch.equal(golden.head.reference_points.weight.expand_as(queries), queries)
    assert torch.equal(plan.attn_mask, golden.tensor("dn/attn_mask"))
    assert torch.equal(plan.slot, golden.tensor("dn/map_known_indice"))
    assert torch.equal(plan.batch_index, golden.tensor("dn/batch_idx")[golden.tensor("dn/known_indice")])
    assert torch.equal(plan.labels, golden.tensor("dn/known_labels"))
    assert torch.equal(plan.box_labels, golden.tensor("dn/known_labels_raw"))
    torch.testing.assert_close(plan.boxes, golden.tensor("dn/known_boxes_gravity"), equal_nan=True)


def test_training_outputs_equal_the_official_ones(training_pass):
    golden, _, out, *_ = training_pass
    for task in golden.tasks:
        for name in BRANCHES:
            atol = 1e-3 if name == "center" else 1e-4
            ours, noised = getattr(out, name)[task][-1], getattr(out.denoising.predictions, name)[task][-1]
            torch.testing.assert_close(ours, golden.tensor(f"task{task}/{name}_last"), atol=atol, rtol=1e-4)
            torch.testing.assert_close(noised, golden.tensor(f"task{task}/dn_{name}_last"), atol=atol, rtol=1e-4)


def test_assignments_beside_denoising_equal_the_official_ones(training_pass):
    golden, _, out, *_ = training_pass
    if len(golden.tasks) > 1:
        pytest.skip("the pairs of several tasks are not told apart in the file")
    matches, _, _ = matches_of(golden, out, *golden.ground_truth())
    for sample in range(golden.config["bs"]):
        assert_pairs(golden, matches, "dn", golden.config["num_layers"] - 1, sample)


def test_training_losses_equal_the_official_ones(training_pass):
    golden, _, _, losses, _ = training_pass
    official = {k.removeprefix("loss/"): float(golden.arrays[k]) for k in golden.arrays if k.startswith("loss/")}
    total = official.pop("total")
    assert set(losses) == set(official)
    for name, value in official.items():
        assert losses[name] == pytest.approx(value, rel=1e-4), name
    assert sum(losses.values()) == pytest.approx(total, rel=1e-4)


def test_gradients_equal_the_official_ones(training_pass):
    golden, *_, gradients = training_pass
    official = json.loads(bytes(golden.arrays["gradnorm_json"]))
    assert set(gradients) == set(official)
    for name, value in official.items():
        assert float(gradients[name].norm()) == pytest.approx(value, rel=1e-3, abs=1e-4), name
    expected = golden.tensor("grad/reference_points")
    torch.testing.assert_close(gradients["reference_points.weight"], expected, rtol=1e-3, atol=1e-3)
