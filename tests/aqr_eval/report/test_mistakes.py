"""Which boxes are mistakes, what a frame costs, and how the page shows the worst."""

from __future__ import annotations

import re

import numpy as np
import pytest

from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.report.frames import FrameRequest, describe_mistakes
from aqr_eval.report.mistakes import Mistakes, find_mistakes, worst_samples
from aqr_eval.submission import load_submission


@pytest.fixture
def matches_of(dataroot):
    truth = load_ground_truth(dataroot, "v1.0-mini", "all")
    return lambda path: find_matches(truth, load_submission(path))


def test_cost_by_hand(matches_of, faulty):
    """Two cars and two cones count. The car of s1 is missed (1 / 2) and falsely found (0.875 / 2)."""
    matches = matches_of(faulty)
    mistakes = find_mistakes(matches, 0.2)
    assert mistakes.missed_in.tolist() == [0, 1] and mistakes.false_positives_in.tolist() == [0, 1]
    np.testing.assert_allclose(mistakes.cost, [0, 0.5 + 0.4375])
    assert worst_samples(mistakes, matches.truth.scenes, 5) == [1]
    assert describe_mistakes(matches, mistakes, 1) == (
        "Missed 1 of 2 true boxes (1 car); 1 false positives (1 car), the surest with 0.88. Cost 0.938."
    )


def test_what_scores_less_than_the_threshold_finds_nothing_and_harms_nothing(matches_of, submissions, faulty):
    # The cones score 0.625, the cars 0.875: at 0.7 both cones are missed, at 0.9 everything is.
    good = matches_of(submissions["good"])
    assert find_mistakes(good, 0.2).cost.tolist() == [0, 0]
    assert find_mistakes(good, 0.7).cost.tolist() == [0.5, 0.5]
    at_most = find_mistakes(matches_of(faulty), 0.9)
    assert at_most.cost.tolist() == [1, 1] and not at_most.false_positive.any()
    assert worst_samples(at_most, (), 1) == [0], "of equals the earlier"


def test_nothing_found_misses_everything(matches_of, submissions):
    mistakes = find_mistakes(matches_of(submissions["empty"]), 0.2)
    assert mistakes.missed.all() and mistakes.missed_in.tolist() == [2, 2]


def test_every_scene_speaks_before_one_speaks_twice():
    nothing = np.zeros(0, dtype=bool)
    cost = np.array([0.5, 0.9, 0.8, 0.0, 0.1])
    mistakes = Mistakes(nothing, nothing, np.zeros(5, np.int64), np.zeros(5, np.int64), cost)
    assert worst_samples(mistakes, ("b", "a", "a", "c", "b"), 9) == [1, 0, 2, 4]
    assert worst_samples(mistakes, (), 3) == [1, 2, 0]


def test_without_mistakes_the_page_says_so(build):
    page = build(request=FrameRequest(4, 0))
    assert "<article" not in page and "good misses nothing and finds nothing false" in page


def test_page_marks_the_mistakes_of_the_worst_frame(build, faulty):
    page = build(submissions={"one": faulty}, request=FrameRequest(4, 0))
    assert page.count("<article") == 1 and "Missed 1 of 2 true boxes (1 car)" in page
    front, back = re.findall(r'<svg class="camera".*?</svg>', page, flags=re.DOTALL)
    assert front.count('class="halo"') == 1 and "missed</tspan>" in front
    assert re.search(r'class="tag class-0 wrong".*✕.*\.88', front)
    assert "halo" not in back and "missed" not in back
    bird = re.search(r'<svg class="bev".*?</svg>', page, flags=re.DOTALL).group()
    assert bird.count('<circle class="mark"') == 1 and bird.count('<path class="mark"') == 1
