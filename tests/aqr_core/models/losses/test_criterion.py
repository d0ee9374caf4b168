"""Loss terms by hand, and ranks against one process."""

from __future__ import annotations

import math
import socket

import pytest
import torch
from torch import distributed, multiprocessing

from aqr_core.models.head.box_coder import MultiTaskBBoxCoder
from aqr_core.models.head.denoising import DenoisingSettings, build_denoising, draw_noise
from aqr_core.models.head.output import DenoisingOutput, HeadOutput, Predictions
from aqr_core.models.losses import DetectionCriterion, HungarianAssigner3D

RANGE = (-32.0, -32.0, -5.0, 32.0, 32.0, 3.0)
CODE_WEIGHTS = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
CODER = MultiTaskBBoxCoder(pc_range=RANGE)


def criterion(classes=(3,)) -> DetectionCriterion:
    assigner = HungarianAssigner3D(
        cls_cost=dict(type="FocalLossCost", weight=2.0), reg_cost=dict(type="BBox3DL1Cost", weight=0.25)
    )
    return DetectionCriterion(
        CODER,
        assigner,
        dict(type="FocalLoss", loss_weight=2.0),
        dict(type="L1Loss", loss_weight=0.25),
        code_weights=CODE_WEIGHTS,
        classes_per_task=classes,
        split=0.75,
        dn_weight=1.0,
    )


def branches(codes: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    parts = codes.split([2, 1, 3, 2, 2], dim=-1)
    return {name: [part] for name, part in zip(("center", "height", "dim", "rot", "vel"), parts, strict=True)}


def output(logits: torch.Tensor, codes: torch.Tensor) -> HeadOutput:
    return HeadOutput(cls_logits=[logits], **branches(codes))


BOX = torch.tensor([[4.0, 5.0, -1.0, 4.0, 2.0, 1.5, 0.3, 1.0, 0.0]])


def test_terms_by_hand():
    codes = CODER.encode(BOX).view(1, 1, 1, 10).repeat(1, 1, 4, 1)
    codes[..., 1:, :2] += 10  # three queries far off
    codes[..., 0, 0] += 0.5  # the near one is 0.5 m off in x
    losses = criterion()(output(torch.zeros(1, 1, 4, 3), codes), [BOX], [torch.tensor([1])])
    assert set(losses) == {"loss_cls", "loss_bbox"}
    assert float(losses["loss_bbox"]) == pytest.approx(0.25 * 2.0 * 0.5, rel=1e-5)
    # 12 entries at p = 0.5: one positive (alpha 0.25), eleven negative (0.75), over 1 + 0.1 * 3 queries.
    total = 2 * 0.25 * math.log(2) * (0.25 + 11 * 0.75)
    assert float(losses["loss_cls"]) == pytest.approx(total / 1.3, rel=1e-5)


def test_unknown_velocity_drops_the_box_loss_alone():
    codes = CODER.encode(BOX).view(1, 1, 1, 10) + 0.1
    box = BOX.clone()
    box[:, 7:] = float("nan")
    losses = criterion()(output(torch.zeros(1, 1, 1, 3), codes), [box], [torch.tensor([1])])
    assert losses["loss_bbox"] == 0 and losses["loss_cls"] > 0


def test_layers_are_named_from_the_first_to_the_last():
    logits = torch.zeros(3, 1, 2, 3)
    losses = criterion()(output(logits, torch.zeros(3, 1, 2, 10)), [BOX], [torch.tensor([1])])
    assert list(losses) == ["loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox", "d1.loss_cls", "d1.loss_bbox"]


def sample(index: int, count: int) -> dict[str, torch.Tensor]:
    """Predictions and truth of one sample; the same wherever it is made."""
    generator = torch.Generator().manual_seed(index)
    boxes = torch.rand(count, 9, generator=generator) * 5 + 1
    return dict(
        logits=torch.randn(2, 1, 20, 3, generator=generator),
        codes=torch.randn(2, 1, 20, 10, generator=generator),
        slot_logits=torch.randn(2, 1, 200, 3, generator=generator),
        slot_codes=torch.randn(2, 1, 200, 10, generator=generator),
        boxes=boxes,
        labels=torch.randint(0, 3, (count,), generator=generator),
    )


def losses_of(batch: list[dict[str, torch.Tensor]], seeds: list[int]) -> dict[str, float]:
    boxes, labels = [s["boxes"] for s in batch], [s["labels"] for s in batch]
    setting = DenoisingSettings(scalar=4)
    plan = build_denoising(
        boxes,
        labels,
        draw_noise(boxes, seeds, setting.scalar),
        settings=setting,
        pc_range=RANGE,
        num_query=20,
        num_classes=3,
    )
    slots = plan.num_slots
    noised = Predictions(
        cls_logits=[torch.cat([s["slot_logits"][:, :, :slots] for s in batch], dim=1)],
        **branches(torch.cat([s["slot_codes"][:, :, :slots] for s in batch], dim=1)),
    )
    out = HeadOutput(
        cls_logits=[torch.cat([s["logits"] for s in batch], dim=1)],
        **branches(torch.cat([s["codes"] for s in batch], dim=1)),
        denoising=DenoisingOutput(plan, noised),
    )
    return {name: float(value) for name, value in criterion()(out, boxes, labels).items()}


COUNTS = (5, 2, 0, 9)  # the fullest sample is on the second rank


def _rank(rank: int, port: int, results: multiprocessing.Queue) -> None:
    torch.set_num_threads(1)  # a forked process may not use the threads of its parent
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    own = [2 * rank, 2 * rank + 1]
    results.put((rank, losses_of([sample(i, COUNTS[i]) for i in own], own)))
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_ranks_average_to_one_process_with_the_same_batch():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_rank, args=(rank, port, results)) for rank in range(2)]
    for process in processes:
        process.start()
    ranks = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    alone = losses_of([sample(i, COUNTS[i]) for i in range(4)], [0, 1, 2, 3])
    assert set(alone) == set(ranks[0])
    for name, value in alone.items():
        assert (ranks[0][name] + ranks[1][name]) / 2 == pytest.approx(value, rel=1e-5), name
