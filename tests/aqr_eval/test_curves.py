from __future__ import annotations

import math

import numpy as np
import pytest

from aqr_eval.config import TP_ERRORS
from aqr_eval.curves import average_precision, build_curve, mean_error, running_mean


def _curve(hits, num_gt, errors=None, scores=None):
    hit = np.array(hits, dtype=bool)
    score = np.linspace(1, 0.5, len(hit)) if scores is None else np.array(scores)
    values = np.zeros(int(hit.sum())) if errors is None else np.array(errors, dtype=float)
    return build_curve(score, hit, {name: values for name in TP_ERRORS}, num_gt)


@pytest.mark.parametrize(
    ("hits", "num_gt", "ap"),
    [
        ([1], 1, 1.0),  # perfect
        ([1], 2, 0.4 / 0.9),  # precision 1 at the 40 points of recall 0.11 to 0.50, out of 90; each counts 0.9 of 0.9
        ([0], 1, 0.0),
        ([], 1, 0.0),
    ],
)
def test_average_precision_by_hand(hits, num_gt, ap):
    assert average_precision(_curve(hits, num_gt), 0.1, 0.1) == pytest.approx(ap, abs=1e-12)


def test_false_positives_after_the_last_match_cost_little_and_before_it_much():
    # After: precision 1 up to recall 0.99 and 1/2 at recall 1: (89 x 0.9 + 0.4) / 90 / 0.9.
    assert average_precision(_curve([1, 0], 1), 0.1, 0.1) == pytest.approx((89 * 0.9 + 0.4) / 81, abs=1e-12)
    # Before: precision climbs in a straight line from 0 to 1/2: mean of max(r / 2 - 0.1, 0) over r = 0.11 ... 1.
    points = [max(r / 200 - 0.1, 0) for r in range(11, 101)]
    assert average_precision(_curve([0, 1], 1), 0.1, 0.1) == pytest.approx(np.mean(points) / 0.9, abs=1e-12)


def test_mean_error_by_hand():
    # Two of two found with errors 0 and 1: mean so far 0 up to recall 0.5, then rising to 0.5 at recall 1.
    curve = _curve([1, 1], 2, errors=[0, 1])
    points = [max(r - 50, 0) / 100 for r in range(11, 101)]
    assert mean_error(curve, "trans_err", 0.1) == pytest.approx(np.mean(points), abs=1e-12)
    assert mean_error(_curve([0], 1), "trans_err", 0.1) == 1.0


@pytest.mark.parametrize(("found", "error"), [(8, 1.0), (9, 0.25)])
def test_errors_count_from_more_than_a_tenth_recalled(found, error):
    assert mean_error(_curve([1] * found, 80, errors=[0.25] * found), "vel_err", 0.1) == error


def test_matches_of_score_zero_do_not_count_for_errors():
    curve = _curve([1, 1], 2, errors=[0.25, 0.25], scores=[0.0, 0.0])
    assert average_precision(curve, 0.1, 0.1) == pytest.approx(1.0)
    assert mean_error(curve, "vel_err", 0.1) == 1.0


def test_running_mean():
    nan = math.nan
    np.testing.assert_allclose(
        running_mean(np.array([nan, 3.58, 2.14, nan, 9, 1.48, nan])), [0, 3.58, 2.86, 2.86, 14.72 / 3, 4.05, 4.05]
    )
    assert running_mean(np.array([nan, nan])).tolist() == [1, 1]
    assert running_mean(np.array([nan, 5.0])).tolist() == [0, 5]
