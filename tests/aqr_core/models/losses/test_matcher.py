"""Matching against brute force."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.models.losses.matcher import HungarianAssigner3D

ASSIGNER = HungarianAssigner3D(
    cls_cost=dict(type="FocalLossCost", weight=2.0), reg_cost=dict(type="BBox3DL1Cost", weight=0.25)
)


def problem(seed: int, counts=(3, 2), layers=2, queries=4):
    generator = torch.Generator().manual_seed(seed)
    most = max(max(counts), 1)
    return (
        torch.randn(layers, len(counts), queries, 5, generator=generator),
        torch.randn(layers, len(counts), queries, 10, generator=generator),
        torch.randn(len(counts), most, 10, generator=generator),
        torch.randint(0, 5, (len(counts), most), generator=generator),
        counts,
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_assignment_is_the_cheapest(seed):
    logits, codes, targets, labels, counts = problem(seed)
    cost = ASSIGNER.cost(logits, codes, targets, labels)
    matches = ASSIGNER.assign(logits, codes, targets, labels, counts)
    for layer in range(2):
        for sample, count in enumerate(counts):
            own = (matches.layer == layer) & (matches.sample == sample)
            query, box = matches.query[own], matches.box[own]
            assert sorted(box.tolist()) == list(range(count)) and len(set(query.tolist())) == count
            best = min(
                sum(float(cost[layer, sample, q, b]) for b, q in enumerate(chosen))
                for chosen in itertools.permutations(range(4), count)
            )
            assert abs(float(cost[layer, sample, query, box].sum()) - best) < 1e-4


def test_velocity_does_not_count():
    logits, codes, targets, labels, _ = problem(0)
    unknown = targets.clone()
    unknown[..., 8:] = float("nan")
    torch.testing.assert_close(
        ASSIGNER.cost(logits, codes, unknown, labels), ASSIGNER.cost(logits, codes, targets, labels)
    )


def test_more_boxes_than_queries_and_no_boxes():
    matches = ASSIGNER.assign(*problem(0, counts=(6, 0)))
    assert len(matches.query) == 2 * 4 and set(matches.sample.tolist()) == {0}
    matches = ASSIGNER.assign(*problem(0, counts=(0, 0)))
    assert len(matches.query) == 0 and matches.layer.dtype == torch.long


def test_non_finite_predictions_and_targets_do_not_stop_the_matching():
    logits, codes, targets, labels, counts = problem(0)
    logits[0, 0, 1] = float("nan")
    targets[1, 0, 2] = float("-inf")  # a box of length 0
    matches = ASSIGNER.assign(logits, codes, targets, labels, counts)
    assert len(matches.query) == 10
    first = (matches.layer == 0) & (matches.sample == 0)
    assert 1 not in matches.query[first].tolist()
