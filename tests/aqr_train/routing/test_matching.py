from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aqr_core.config import load_config
from aqr_core.infos.schema import GroundTruth
from aqr_core.models import build_detector
from aqr_core.models.head.output import HeadOutput
from aqr_train.routing.matching import annotated, best_boxes, match_queries


@pytest.fixture(scope="module")
def head():
    """With two tasks: three classes and seven."""
    config = load_config("cmt_aqr_tiny_scratch").model
    config.pts_bbox_head.tasks = [dict(num_class=3), dict(num_class=7)]
    return build_detector(config).pts_bbox_head


def box(x, y):
    return [x, y, 0.0, 1, 1, 1, 0, 0, 0]


def output(head, boxes, labels):
    """(Q, 9) boxes and (Q,) labels, of one sample, as a sure prediction; the other task sees everything at (30, 30)."""
    codes = head.bbox_coder.encode(torch.tensor(boxes))  # (Q, 10)
    elsewhere = head.bbox_coder.encode(torch.tensor([box(30.0, 30.0)] * len(boxes)))
    logits = torch.full((len(boxes), 10), -5.0)
    logits[torch.arange(len(boxes)), torch.tensor(labels)] = 5.0
    first = torch.tensor(labels)[:, None] < 3
    parts = {"center": slice(2), "height": slice(2, 3), "dim": slice(3, 6), "rot": slice(6, 8), "vel": slice(8, 10)}
    tasks = [torch.where(first == own, codes, elsewhere)[None, None] for own in (True, False)]
    branches = {name: [task[..., part] for task in tasks] for name, part in parts.items()}
    return HeadOutput(cls_logits=[logits[None, None, :, :3], logits[None, None, :, 3:]], **branches)


def test_a_query_is_matched_with_its_box_within_two_metres(head):
    out = output(head, [box(0.0, 0.0), box(10.0, 0.0), box(20.0, 0.0), box(0.5, 0.0)], [1, 4, 8, 1])
    true = torch.tensor([box(0.0, 0.1), box(10.0, 1.9), box(20.0, 2.1)])
    # The first is claimed by the nearer of two, the third is found too far away.
    assert match_queries(head, out, [true], [torch.tensor([1, 4, 8])]).tolist() == [[1, 4, -1, -1]]


def test_without_boxes_nothing_is_matched(head):
    out = output(head, [box(0.0, 0.0)], [1])
    assert match_queries(head, out, [torch.zeros(0, 9)], [torch.zeros(0, dtype=torch.long)]).tolist() == [[-1]]


def test_a_box_is_that_of_the_task_that_owns_the_best_class(head):
    given = [box(1.0, 2.0), box(-3.0, 4.0)]
    scores, labels, boxes = best_boxes(head, output(head, given, [2, 3]))
    assert labels.tolist() == [[2, 3]]
    torch.testing.assert_close(scores, torch.full((1, 2), 5.0).sigmoid())
    torch.testing.assert_close(boxes, torch.tensor([given]))


def test_annotation_counts_known_classes_with_points():
    boxes, points = np.arange(27.0).reshape(3, 9), np.zeros(3, np.int64)
    valid = np.array([True, True, False])
    gt = GroundTruth(boxes, np.array([0, 1, 2]), points, points, ("",) * 3, valid, ("",) * 3)
    found, labels = annotated(SimpleNamespace(gt=gt), ("a", "b", "c"), ("c", "b"))
    assert found.tolist() == [boxes[1].tolist()] and labels.tolist() == [1]
