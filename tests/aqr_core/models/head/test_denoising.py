"""Denoising slots: seeds, groups, padding, masks."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.models.head.denoising import DenoisingSettings, build_denoising, draw_noise, self_attention_mask

RANGE = (-32.0, -32.0, -5.0, 32.0, 32.0, 3.0)


def boxes_of(*counts: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 9, generator=generator) + 1 for count in counts]


def labels_of(*counts: int) -> list[torch.Tensor]:
    return [torch.arange(count) % 10 for count in counts]


def make(counts, noise=None, num_query=100, seeds=None, **changes):
    boxes = boxes_of(*counts)
    setting = DenoisingSettings(**changes)
    noise = draw_noise(boxes, seeds or range(len(counts)), setting.scalar) if noise is None else noise
    return build_denoising(
        boxes,
        labels_of(*counts),
        noise,
        settings=setting,
        pc_range=RANGE,
        num_query=num_query,
        num_classes=10,
    )


def test_noise_depends_on_the_sample_alone():
    three = boxes_of(3)[0]
    alone = draw_noise([three], [7], groups=4)[0]
    together = draw_noise([*boxes_of(9), three], [1, 7], groups=10)[1]
    assert torch.equal(together[:4], alone)  # neither batch nor number of groups matters
    assert not torch.equal(draw_noise([three], [8], groups=4)[0], alone)
    assert alone.abs().max() <= 1


def test_groups_fill_up_to_the_number_of_queries():
    assert make((7, 4), num_query=100).num_slots == 70  # 10 groups
    assert make((7, 4), num_query=30).num_slots == 28  # 30 // 7 = 4 groups
    assert make((7, 4), num_query=3).num_slots == 7  # one group at least, where upstream would divide by zero
    assert make((7, 4), num_query=100, scalar=2).num_slots == 14


def test_no_box_or_no_group_means_no_denoising():
    assert make((0, 0)) is None
    assert make((3, 2), scalar=0) is None


def test_sample_without_boxes_keeps_empty_slots():
    plan = make((3, 0))
    assert plan.reference_points.shape == (2, 30, 3)
    assert not plan.reference_points[1].any()
    assert set(plan.batch_index.tolist()) == {0} and plan.num_known == 30


def test_shift_and_background_by_hand():
    boxes = [torch.tensor([[10.0, -20.0, -1.0, 4.0, 2.0, 2.0, 0.3, 0.0, 0.0]])]
    noise = [torch.tensor([[[0.5, -0.5, 0.0]], [[1.0, 0.0, 0.0]]])]  # lengths 0.707 and 1
    plan = build_denoising(
        boxes,
        [torch.tensor([2])],
        noise,
        settings=DenoisingSettings(scalar=2),
        pc_range=RANGE,
        num_query=50,
        num_classes=10,
    )
    centres = torch.tensor([[11.0, -20.5, -1.0], [12.0, -20.0, -1.0]])  # half the size times the noise
    expected = (centres - torch.tensor(RANGE[:3])) / torch.tensor([64.0, 64.0, 8.0])
    torch.testing.assert_close(plan.reference_points[0], expected)
    assert plan.labels.tolist() == [2, 10] and plan.box_labels.tolist() == [2, 2]


def test_references_are_clamped_to_the_range():
    boxes = [torch.tensor([[31.9, 0.0, 2.9, 10.0, 1.0, 10.0, 0.0, 0.0, 0.0]])]
    plan = build_denoising(
        boxes,
        [torch.tensor([0])],
        [torch.full((1, 1, 3), 0.9)],
        settings=DenoisingSettings(scalar=1),
        pc_range=RANGE,
        num_query=5,
        num_classes=10,
    )
    assert plan.reference_points[0, 0, 0] == 1 and plan.reference_points[0, 0, 2] == 1


@settings(max_examples=30, deadline=None)
@given(groups=st.integers(1, 4), size=st.integers(1, 4), queries=st.integers(1, 5))
def test_mask_equals_its_definition(groups, size, queries):
    mask = self_attention_mask(groups, size, queries, torch.device("cpu"))
    slots = groups * size
    for i in range(slots + queries):
        for j in range(slots + queries):
            foreign = j < slots and (i >= slots or i // size != j // size)
            assert bool(mask[i, j]) == foreign


def test_a_rank_with_fewer_boxes_pads_to_the_fullest_rank(monkeypatch):
    from aqr_core.models.head import denoising

    monkeypatch.setattr(denoising, "max_over_ranks", lambda count, device: 12)
    plan = make((0, 4))
    assert plan.num_slots == 96  # 100 // 12 = 8 groups of 12
    assert plan.num_known == 32
