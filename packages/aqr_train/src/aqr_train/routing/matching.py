"""What the queries found, and which annotated object it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aqr_core.models.head.output import HeadOutput
from aqr_core.models.precision import at_least_float32

RADIUS_M = 2.0  # the middle of the metric's distances, at which it measures errors


@torch.no_grad()
def match_queries(head: Any, out: HeadOutput, boxes: list[Tensor], labels: list[Tensor]) -> Tensor:  # noqa: ANN401
    """Pair queries and annotated boxes one to one, by the matcher of training on the last decoder layer.

    Pairs whose centres are more than `RADIUS_M` apart on the ground are dropped: the matcher gives every box a query,
    also where nothing was found.

    Args:
        head: a `CmtHead`.
        out: of its forward pass.
        boxes: per sample (n, 9), LiDAR frame.
        labels: per sample (n,), the head's classes.

    Returns:
        (B, Q) class of the box that a query is paired with, -1 for none.
    """
    matched = torch.full(out.center[0].shape[1:3], -1, dtype=torch.long, device=out.center[0].device)
    offset = 0
    for task, classes in enumerate(head.classes_per_task):
        own = [(label >= offset) & (label < offset + classes) for label in labels]
        targets = pad_sequence([box[o] for box, o in zip(boxes, own, strict=True)], batch_first=True)
        target_labels = pad_sequence([label[o] for label, o in zip(labels, own, strict=True)], batch_first=True)
        codes = at_least_float32(out.box_codes(task)[-1:])
        pairs = head.criterion.assigner.assign(
            at_least_float32(out.cls_logits[task][-1:]),
            codes,
            head.bbox_coder.encode(targets.to(codes.dtype)),
            target_labels - offset,
            [int(o.sum()) for o in own],
        )
        found = codes[0, pairs.sample, pairs.query, :2] - targets[pairs.sample, pairs.box, :2]
        near = found.norm(dim=-1) <= RADIUS_M
        matched[pairs.sample[near], pairs.query[near]] = target_labels[pairs.sample[near], pairs.box[near]]
        offset += classes
    return matched


def annotated(info: Any, header_classes: tuple[str, ...], classes: tuple[str, ...]) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """(n, 9) float32 boxes and (n,) labels over `classes` of what a keyframe's annotation counts: boxes with points."""
    label_of = np.array([classes.index(name) if name in classes else -1 for name in header_classes])
    labels = label_of[info.gt.labels] if len(info.gt) else np.zeros(0, np.int64)
    counted = info.gt.valid & (labels >= 0)
    return torch.from_numpy(info.gt.boxes[counted]).float(), torch.from_numpy(labels[counted])


def best_boxes(head: Any, out: HeadOutput) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
    """What every query takes for the likeliest, in the last decoder layer, at least in float32.

    Returns:
        (B, Q) score and (B, Q) label of the best class, and the (B, Q, 9) box of the task that owns it, LiDAR frame.
    """
    logits = torch.cat([at_least_float32(logits[-1]) for logits in out.cls_logits], dim=-1)
    scores, labels = logits.sigmoid().max(dim=-1)
    codes = torch.stack([at_least_float32(out.box_codes(task)[-1]) for task in range(len(out.center))], dim=2)
    owner = torch.repeat_interleave(torch.tensor(head.classes_per_task, device=labels.device))[labels]  # (B, Q)
    own = codes.take_along_dim(owner[..., None, None], dim=2).squeeze(2)
    return scores, labels, head.bbox_coder.decode_codes(own)
