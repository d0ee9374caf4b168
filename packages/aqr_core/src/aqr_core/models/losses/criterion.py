"""The training losses: focal classification and L1 boxes at every decoder layer, for matching and denoising queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aqr_core.models.losses.focal import FocalLoss, L1Loss
from aqr_core.models.losses.matcher import HungarianAssigner3D
from aqr_core.models.losses.ranks import sum_over_ranks, world_size
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS, build

if TYPE_CHECKING:
    from aqr_core.models.head.box_coder import MultiTaskBBoxCoder
    from aqr_core.models.head.output import DenoisingOutput, HeadOutput, Predictions

EPS = torch.finfo(torch.float32).eps  # upstream adds it to every average factor
NEGATIVE_WEIGHT = 0.1  # share of a negative query in the average factor of the class loss


class DetectionCriterion:
    """Turns head outputs and ground truth into named loss terms.

    Args:
        box_coder: encodes the ground truth.
        assigner: the matcher.
        loss_cls: config of the class loss.
        loss_bbox: config of the box loss.
        code_weights: weight of each of the ten code channels in the box loss.
        classes_per_task: number of classes of each task; labels run through the tasks in order.
        split: radius within which a denoising query keeps its class, for the average factor.
        dn_weight: factor of the denoising terms.
    """

    def __init__(
        self,
        box_coder: MultiTaskBBoxCoder,
        assigner: HungarianAssigner3D,
        loss_cls: Mapping[str, Any],
        loss_bbox: Mapping[str, Any],
        *,
        code_weights: Sequence[float],
        classes_per_task: Sequence[int],
        split: float,
        dn_weight: float,
    ) -> None:
        self.box_coder = box_coder
        self.assigner = assigner
        self.loss_cls: FocalLoss = build(loss_cls, MODELS)
        self.loss_bbox: L1Loss = build(loss_bbox, MODELS)
        self.code_weights = tuple(code_weights)
        self.classes_per_task = tuple(classes_per_task)
        self.split = split
        self.dn_weight = dn_weight

    def __call__(self, out: HeadOutput, gt_boxes: Sequence[Tensor], gt_labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Compute all terms.

        Args:
            out: of the head.
            gt_boxes: per sample (n, 9).
            gt_labels: per sample (n,).

        Returns:
            `loss_cls` and `loss_bbox` of the last decoder layer, `d0.loss_cls` ... of the others, and the same with
            `dn_loss_` where the batch has denoising queries. The training loss is their sum.
        """
        losses = _name_layers("", *self._sum_tasks(self.matching_loss, out, gt_boxes, gt_labels))
        if out.denoising is not None:
            cls, bbox = self._sum_tasks(self.denoising_loss, out.denoising)
            losses |= _name_layers("dn_", self.dn_weight * cls, self.dn_weight * bbox)
        return losses

    def _sum_tasks(self, term: Any, *arguments: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        offset, parts = 0, []
        for task, classes in enumerate(self.classes_per_task):
            parts.append(term(task, offset, *arguments))
            offset += classes
        cls, bbox = (torch.stack(terms).sum(dim=0) for terms in zip(*parts, strict=True))
        return cls, bbox

    def matching_loss(
        self,
        task: int,
        offset: int,
        predictions: Predictions,
        gt_boxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Class and box loss (L,) of the matching queries of one task, whose classes start at `offset`."""
        classes = self.classes_per_task[task]
        logits = at_least_float32(predictions.cls_logits[task])  # (L, B, Q, K)
        codes = at_least_float32(predictions.box_codes(task))  # (L, B, Q, 10)
        own = [(label >= offset) & (label < offset + classes) for label in gt_labels]
        targets = pad_sequence(
            [self.box_coder.encode(b[o].to(codes.dtype)) for b, o in zip(gt_boxes, own, strict=True)], True
        )
        labels = pad_sequence([label[o] - offset for label, o in zip(gt_labels, own, strict=True)], True)
        counts = [int(o.sum()) for o in own]
        matches = self.assigner.assign(logits, codes, targets, labels, counts)

        query_labels = torch.full(logits.shape[:3], classes, device=logits.device)
        query_labels[matches.layer, matches.sample, matches.query] = labels[matches.sample, matches.box]
        positives = sum(min(count, logits.shape[2]) for count in counts)
        queries = logits.shape[1] * logits.shape[2]
        ranks = world_size()
        positives, queries = sum_over_ranks(logits.new_tensor([positives, queries])).tolist()
        cls_factor = max(positives + NEGATIVE_WEIGHT * (queries - positives), 1.0) / ranks
        cls = self.loss_cls.elementwise(logits, query_labels).sum(dim=(1, 2, 3)) / (cls_factor + EPS)

        matched = codes[matches.layer, matches.sample, matches.query]
        box_loss = self._box_loss(matched, targets[matches.sample, matches.box])  # (m,)
        bbox = logits.new_zeros(len(logits)).index_add(0, matches.layer, box_loss)
        # A prediction of no box still joins the graph, so that every parameter has a gradient on every rank.
        bbox = bbox / (positives / ranks + EPS) + 0 * codes.sum(dim=(1, 2, 3))
        return cls, bbox

    def denoising_loss(self, task: int, offset: int, denoising: DenoisingOutput) -> tuple[Tensor, Tensor]:
        """Class and box loss (L,) of the known denoising slots of one task."""
        plan, classes = denoising.plan, self.classes_per_task[task]
        logits = at_least_float32(denoising.predictions.cls_logits[task][:, plan.batch_index, plan.slot])  # (L, k, K)
        codes = at_least_float32(denoising.predictions.box_codes(task)[:, plan.batch_index, plan.slot])
        labels = plan.labels - offset
        labels = torch.where((labels >= 0) & (labels < classes), labels, classes)
        ranks = world_size()
        # The share of the noise cube within `split` of its centre keeps its class; the digits of pi are upstream's.
        cls_factor = max(plan.num_known * 3.14159 / 6 * self.split**3, 1.0) / ranks
        cls = self.loss_cls.elementwise(logits, labels.expand(len(logits), -1)).sum(dim=(1, 2)) / (cls_factor + EPS)

        own = (plan.box_labels >= offset) & (plan.box_labels < offset + classes)
        targets = self.box_coder.encode(plan.boxes[own].to(codes.dtype)).expand(len(logits), -1, -1)
        bbox = self._box_loss(codes[:, own], targets).sum(dim=1) / (max(plan.num_known, 1.0) / ranks + EPS)
        return cls, bbox

    def _box_loss(self, codes: Tensor, targets: Tensor) -> Tensor:
        """(..., 10) twice -> (...) loss, 0 where any target is not finite (unknown velocity)."""
        usable = targets.isfinite().all(dim=-1)
        targets = torch.where(usable.unsqueeze(-1), targets, codes.detach())
        return (self.loss_bbox.elementwise(codes, targets) * codes.new_tensor(self.code_weights)).sum(dim=-1)


def _name_layers(prefix: str, cls: Tensor, bbox: Tensor) -> dict[str, Tensor]:
    last = len(cls) - 1
    losses = {f"{prefix}loss_cls": cls[last], f"{prefix}loss_bbox": bbox[last]}
    for layer in range(last):
        losses[f"d{layer}.{prefix}loss_cls"] = cls[layer]
        losses[f"d{layer}.{prefix}loss_bbox"] = bbox[layer]
    return losses
