from __future__ import annotations

import logging

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.data.class_balance import class_balanced_indices


def test_by_hand():
    """Eight frames hold a car, one of them a bus too: nine in all, so each class lends four."""
    holds = np.zeros((8, 2), bool)
    holds[:, 0] = True
    holds[5, 1] = True
    indices = class_balanced_indices(holds, ("car", "bus"), np.random.default_rng(0))
    assert len(indices) == 8
    assert set(indices[:4]) <= set(range(8))
    assert indices[4:].tolist() == [5, 5, 5, 5]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 40), classes=st.integers(1, 10))
def test_every_class_has_its_share(seed, frames, classes):
    holds = np.random.default_rng(seed).random((frames, classes)) < 0.4
    members = holds.sum(axis=0)
    names = [f"class{k}" for k in range(classes)]
    indices = class_balanced_indices(holds, names, np.random.default_rng(seed))
    present = np.flatnonzero(members)
    if not len(present):
        assert len(indices) == 0
        return
    share = members.sum() // len(present)
    assert len(indices) == share * len(present)
    for k, part in zip(present, indices.reshape(len(present), share), strict=True):
        assert holds[part, k].all()
    np.testing.assert_array_equal(indices, class_balanced_indices(holds, names, np.random.default_rng(seed)))


def test_frequencies_are_even_within_a_class():
    holds = np.ones((4, 1), bool)
    counts = np.zeros(4)
    for seed in range(2000):
        counts += np.bincount(class_balanced_indices(holds, ("car",), np.random.default_rng(seed)), minlength=4)
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.01)


def test_a_class_without_frames_is_left_out_and_named(caplog):
    holds = np.array([[True, False, True], [True, False, False]])
    with caplog.at_level(logging.WARNING):
        indices = class_balanced_indices(holds, ("car", "tram", "bus"), np.random.default_rng(0))
    assert len(indices) == 2  # three in two classes: one each
    assert indices[1] == 0
    assert "leaves out tram: no keyframe" in caplog.text
