"""All loss terms against upstream's rules written as plain loops, for one task and for several."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from aqr_core.models.head.box_coder import MultiTaskBBoxCoder
from aqr_core.models.head.denoising import DenoisingSettings, build_denoising, draw_noise
from aqr_core.models.head.output import BOX_BRANCHES, DenoisingOutput, HeadOutput, Predictions
from aqr_core.models.losses import DetectionCriterion, HungarianAssigner3D

RANGE = (-32.0, -20.0, -5.0, 40.0, 32.0, 3.0)
WEIGHTS = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
LAYERS, QUERIES, SPLIT = 2, 12, 0.75
encode = MultiTaskBBoxCoder.encode


def random_predictions(classes: tuple[int, ...], batch: int, queries: int) -> Predictions:
    tasks = []
    for count in classes:
        widths = dict(zip(BOX_BRANCHES, (2, 1, 3, 2, 2), strict=True))
        branches = {name: torch.randn(LAYERS, batch, queries, width) for name, width in widths.items()}
        tasks.append({**branches, "cls_logits": torch.randn(LAYERS, batch, queries, count)})
    return Predictions.from_tasks(tasks)


def focal(logits: torch.Tensor, label: int) -> float:
    """Of one query; `label == len(logits)` is background."""
    total = 0.0
    for k, p in enumerate(logits.double().sigmoid().tolist()):
        total += -0.25 * (1 - p) ** 2 * math.log(p) if k == label else -0.75 * p**2 * math.log(1 - p)
    return 2.0 * total


def box_loss(code: torch.Tensor, target: torch.Tensor) -> float:
    if not target.isfinite().all():
        return 0.0
    pairs = zip(code.tolist(), target.tolist(), WEIGHTS, strict=True)
    return 0.25 * sum(weight * abs(a - b) for a, b, weight in pairs)


def match_cost(logits: torch.Tensor, code: torch.Tensor, label: int, target: torch.Tensor) -> float:
    p = float(logits.double().sigmoid()[label])
    positive, negative = -0.25 * (1 - p) ** 2 * math.log(p + 1e-12), -0.75 * p**2 * math.log(1 - p + 1e-12)
    pairs = zip(code.tolist()[:8], target.tolist()[:8], WEIGHTS[:8], strict=True)
    return 2.0 * (positive - negative) + 0.25 * sum(abs(weight * a - weight * b) for a, b, weight in pairs)


def matching_terms(predictions, boxes, labels, classes, layer):
    """(class loss, box loss) of one decoder layer."""
    cls_sum, box_sum, offset = 0.0, 0.0, 0
    for task, count in enumerate(classes):
        cls_task, box_task, positives, queries = 0.0, 0.0, 0, 0
        for sample in range(len(boxes)):
            own = [i for i, label in enumerate(labels[sample].tolist()) if offset <= label < offset + count]
            logits = predictions.cls_logits[task][layer, sample]
            codes = predictions.box_codes(task)[layer, sample]
            targets = encode(boxes[sample])
            cost = [
                [match_cost(logits[q], codes[q], int(labels[sample][i]) - offset, targets[i]) for i in own]
                for q in range(len(logits))
            ]
            pairs = dict(zip(*map(list, linear_sum_assignment(cost)), strict=True)) if own else {}
            for query in range(len(logits)):
                label = int(labels[sample][own[pairs[query]]]) - offset if query in pairs else count
                cls_task += focal(logits[query], label)
                if query in pairs:
                    box_task += box_loss(codes[query], targets[own[pairs[query]]])
            positives, queries = positives + len(pairs), queries + len(logits)
        cls_sum += cls_task / max(positives + 0.1 * (queries - positives), 1)
        box_sum += box_task / positives if positives else 0.0
        offset += count
    return cls_sum, box_sum


def denoising_terms(predictions, plan, classes, layer):
    """(class loss, box loss) of one decoder layer."""
    cls_sum, box_sum, offset, known = 0.0, 0.0, 0, len(plan.slot)
    for task, count in enumerate(classes):
        for i in range(known):
            place = (layer, plan.batch_index[i], plan.slot[i])
            label = int(plan.labels[i]) - offset
            inside = 0 <= label < count
            factor = max(known * 3.14159 / 6 * SPLIT**3, 1)
            cls_sum += focal(predictions.cls_logits[task][place], label if inside else count) / factor
            if offset <= int(plan.box_labels[i]) < offset + count:
                box_sum += box_loss(predictions.box_codes(task)[place], encode(plan.boxes[i])) / max(known, 1)
        offset += count
    return cls_sum, box_sum


@pytest.mark.parametrize("classes", [(5,), (2, 3), (1, 2, 2)])
@pytest.mark.parametrize("counts", [(4, 2), (3, 0), (1, 1)])
def test_terms_equal_plain_loops(classes, counts):
    torch.manual_seed(sum(classes) + sum(counts))
    boxes = [torch.rand(n, 9) * 4 + 0.5 for n in counts]
    labels = [torch.randint(0, 5, (n,)) for n in counts]
    boxes[0][0, 7] = float("nan")  # unknown velocity: its box terms are left out
    settings = DenoisingSettings(scalar=3, split=SPLIT)
    plan = build_denoising(
        boxes,
        labels,
        draw_noise(boxes, [1, 2], 3),
        settings=settings,
        pc_range=RANGE,
        num_query=QUERIES,
        num_classes=5,
    )
    matching = random_predictions(classes, 2, QUERIES)
    noised = random_predictions(classes, 2, plan.num_slots)
    assigner = HungarianAssigner3D(
        cls_cost=dict(type="FocalLossCost", weight=2.0), reg_cost=dict(type="BBox3DL1Cost", weight=0.25)
    )
    criterion = DetectionCriterion(
        MultiTaskBBoxCoder(pc_range=RANGE),
        assigner,
        dict(type="FocalLoss", loss_weight=2.0),
        dict(type="L1Loss", loss_weight=0.25),
        code_weights=WEIGHTS,
        classes_per_task=classes,
        split=SPLIT,
        dn_weight=1.0,
    )
    losses = criterion(HeadOutput(**vars(matching), denoising=DenoisingOutput(plan, noised)), boxes, labels)
    expected = {}
    for layer, prefix in enumerate(("d0.", "")):
        cls, bbox = matching_terms(matching, boxes, labels, classes, layer)
        dn_cls, dn_bbox = denoising_terms(noised, plan, classes, layer)
        expected |= {f"{prefix}loss_cls": cls, f"{prefix}loss_bbox": bbox}
        expected |= {f"{prefix}dn_loss_cls": dn_cls, f"{prefix}dn_loss_bbox": dn_bbox}
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected, rel=1e-4)
