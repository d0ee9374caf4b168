"""Cutting boxes out of text gives what decoding gives, or nothing."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_eval.nuscenes.errors import SubmissionError
from aqr_eval.submission.sample_boxes import decode_boxes
from aqr_eval.submission.uniform import cut_boxes

NUMBER = st.floats(-1e4, 1e4) | st.integers(-9, 9) | st.just(1e-17)
UNKNOWN = st.just(math.nan)
FIELDS = {
    "translation": st.lists(NUMBER, min_size=3, max_size=3),
    "size": st.lists(NUMBER, min_size=3, max_size=3),
    "rotation": st.lists(NUMBER, min_size=4, max_size=4),
    "velocity": st.lists(NUMBER | UNKNOWN, min_size=2, max_size=2),
    "detection_name": st.sampled_from(["car", "bus", "traffic_cone"]),
    "detection_score": st.floats(0, 1),
    "attribute_name": st.sampled_from(["", "vehicle.parked"]),
    "sample_token": st.just("t"),
}
EXTRA = {"num_pts": st.integers(-1, 9), "tracking_id": st.sampled_from(["7", "eight"])}
FORMATS = [{}, {"separators": (",", ":")}, {"indent": 1}, {"separators": (" , ", " : ")}]


@st.composite
def uniform_boxes(draw):
    names = draw(st.permutations([*FIELDS, *draw(st.lists(st.sampled_from(list(EXTRA)), unique=True))]))
    box = st.fixed_dictionaries({name: (FIELDS | EXTRA)[name] for name in names})
    boxes = [{name: found[name] for name in names} for found in draw(st.lists(box, min_size=1, max_size=4))]
    return json.dumps(boxes, **draw(st.sampled_from(FORMATS)))


def _assert_equal(cut, decoded):
    assert (cut.label, cut.attribute) == (decoded.label, decoded.attribute)
    np.testing.assert_array_equal(cut.numbers, decoded.numbers)


@settings(max_examples=150, deadline=None)
@given(uniform_boxes())
def test_uniform_boxes_are_cut(text):
    _assert_equal(cut_boxes(text, "t"), decode_boxes(json.loads(text), "t", "here"))


@settings(max_examples=300, deadline=None)
@given(uniform_boxes(), st.data())
def test_a_spoilt_text_is_never_misread(text, data):
    """One character more, less or other: what is still cut is what JSON says, and what JSON refuses is not cut."""
    at = data.draw(st.integers(0, len(text) - 1))
    spoilt = text[:at] + data.draw(st.sampled_from(["", *'0-.e,:" []{}xN'])) + text[at + data.draw(st.integers(0, 1)) :]
    cut = cut_boxes(spoilt, "t")
    if cut is None:
        return
    try:
        decoded = decode_boxes(json.loads(spoilt), "t", "here")
    except json.JSONDecodeError:
        # Only how a number is spelt may be taken more lightly: 01, .5 and 1. are numbers here.
        assert re.sub(r"-?[0-9.]+", "1", spoilt) == re.sub(r"-?[0-9.]+", "1", text)
        return
    except SubmissionError:
        pytest.fail(f"cut what is no submission: {spoilt}")
    _assert_equal(cut, decoded)


@pytest.mark.parametrize("spoilt", ["-[1.0, 2.5]", "[1.0, 2.5]0", "[, 2.5]", "[ , 2.5]", "[1.0, ]", "[1.0,, 2.5]"])
def test_what_is_beside_the_brackets_or_nothing_is_no_number(spoilt):
    whole = "[1.0, 2.5]"
    box = dict(translation=[0, 0, 0], size=[1, 1, 1], rotation=[1, 0, 0, 0], velocity=[1.0, 2.5], detection_name="car")
    text = json.dumps([{**box, "detection_score": 0.5, "attribute_name": "", "sample_token": "t"}] * 2)
    assert cut_boxes(text, "t") is not None
    first, second = (text.find(whole), text.rfind(whole))
    for at in (first, second):
        assert cut_boxes(text[:at] + spoilt + text[at + len(whole) :], "t") is None


@pytest.mark.parametrize(
    "text", ["[]", "[{}]", "[1]", "", "[{", '[{"sample_token": "t"}]', '[{"a": {"b": 1}}]', '["a}", {}]', "[[]]"]
)
def test_what_holds_no_box_is_left_to_the_decoder(text):
    assert cut_boxes(text, "t") is None
