from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_eval import matching
from aqr_eval.matching import find_candidates, match, score_order


def _greedy(predictions, gt, threshold):
    """The benchmark's loop, word by word."""
    matched, taken = [], set()
    for p in range(len(predictions)):
        best, row = math.inf, -1
        for g in range(len(gt)):
            if g in taken or gt.sample[g] != predictions.sample[p] or gt.label[g] != predictions.label[p]:
                continue
            dx, dy = predictions.translation[p, :2] - gt.translation[g, :2]
            if math.sqrt(dx * dx + dy * dy) < best:
                best, row = math.sqrt(dx * dx + dy * dy), g
        if best < threshold:
            taken.add(row)
            matched.append(row)
        else:
            matched.append(-1)
    return matched


# Few places, samples and classes, so that distances tie and predictions compete.
BOX = st.tuples(st.integers(0, 2), st.sampled_from(["car", "bus"]), st.integers(0, 6), st.integers(0, 3))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(BOX, max_size=20),
    st.lists(BOX, max_size=20),
    st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    st.sampled_from([0.0, 2000.0]),
    st.randoms(use_true_random=False),
)
def test_equals_the_greedy_loop(make_boxes, predicted, true, threshold, offset, random):
    predictions, gt = (
        make_boxes(
            {
                "sample": [box[0] for box in boxes],
                "detection_name": [box[1] for box in boxes],
                "translation": [[offset + box[2] * 0.5, box[3] * 0.5 - offset, 0.0] for box in boxes],
            }
        )
        for boxes in (predicted, true)
    )
    rows = np.array([row for row in range(len(predictions)) if random.random() < 0.8], np.int64)
    order = np.array(random.sample(range(len(rows)), len(rows)), np.int64)
    candidates = find_candidates(predictions, rows, order, gt, 4.0)
    assert match(candidates, len(gt), threshold).tolist() == _greedy(predictions.select(rows[order]), gt, threshold)


def test_chunks_do_not_change_the_candidates(make_boxes, monkeypatch):
    rng = np.random.default_rng(0)

    def boxes(n):
        return make_boxes({"sample": rng.integers(0, 5, n).tolist(), "translation": rng.uniform(0, 9, (n, 3)).tolist()})

    predictions, gt = boxes(200), boxes(60)
    rows = np.arange(len(predictions))
    whole = find_candidates(predictions, rows, rows, gt, 4.0)
    for size in (1, 7, 100):
        monkeypatch.setattr(matching, "_PAIRS_PER_CHUNK", size)
        parts = find_candidates(predictions, rows, rows, gt, 4.0)
        for field in ("start", "ground_truth", "distance"):
            np.testing.assert_array_equal(getattr(parts, field), getattr(whole, field))


def test_equal_scores_let_the_later_row_go_first():
    assert score_order(np.array([0.5, 0.9, 0.5, 0.1])).tolist() == [1, 2, 0, 3]
