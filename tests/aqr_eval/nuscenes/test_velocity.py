from __future__ import annotations

import numpy as np
import pytest

from aqr_eval.nuscenes.velocity import track_velocities


def _velocities(x, seconds):
    n = len(x)
    translation = np.stack([np.array(x, dtype=float), np.zeros(n), np.zeros(n)], axis=1)
    timestamp = np.round(np.array(seconds) * 1e6).astype(np.int64)
    previous = np.arange(n) - 1
    following = np.where(np.arange(n) < n - 1, np.arange(n) + 1, -1)
    return track_velocities(translation, timestamp, previous, following)[:, 0]


def test_central_inside_and_one_sided_at_the_ends():
    # 1 m in the first half second, 3 m in the second: 2 m/s, (4 m in 1 s), 6 m/s.
    np.testing.assert_allclose(_velocities([0, 1, 4], [0, 0.5, 1.0]), [2, 4, 6])


def test_seen_once_is_unknown():
    assert np.isnan(_velocities([7], [0])).all()


@pytest.mark.parametrize(("gap", "known"), [(1.4, True), (1.6, False)])
def test_long_gaps_are_unknown_at_the_ends(gap, known):
    assert np.isfinite(_velocities([0, 1], [0, gap])).all() == known


def test_the_central_limit_is_twice_as_long():
    velocity = _velocities([0, 1, 2, 3], [0, 1.45, 2.9, 4.5])
    assert velocity[1] == pytest.approx(2 / 2.9)
    assert np.isnan(velocity[2]) and np.isnan(velocity[3])  # 3.05 s between neighbours, 1.6 s at the end


def test_two_samples_of_one_time_are_unknown():
    assert np.isnan(_velocities([0, 1], [0, 0])).all()
