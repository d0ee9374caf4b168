from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_train.routing.groups import Grouping
from aqr_train.routing.statistics import BINS, QUANTILES, Distribution, describe, describe_groups

UNIT = (-1.0, 1.0)


def test_a_distribution_by_hand():
    found = Distribution.of(np.array([-1.0, 0.0, 0.0, 0.5, 1.0], np.float32), UNIT)
    assert found.mean == pytest.approx(0.1)
    assert found.std == pytest.approx(np.sqrt(2.25 / 5 - 0.01))
    # Five samples lie at the levels 0, 1/4 ... 1: the quartiles are samples, 0.05 is a fifth of the way to the second.
    assert found.quantiles == pytest.approx((-0.8, 0.0, 0.0, 0.5, 0.9))
    filled = {index: count for index, count in enumerate(found.histogram) if count}
    assert filled == {0: 1, BINS // 2: 2, BINS * 3 // 4: 1, BINS - 1: 1}


def test_a_weight_rounded_past_its_range_stays_in_the_histogram():
    beyond = np.array([np.nextafter(np.float32(1), np.float32(2))])
    assert Distribution.of(beyond, UNIT).histogram[-1] == 1


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30))
def test_histogram_holds_every_value_and_quantiles_ascend(values):
    found = Distribution.of(np.array(values, np.float32), UNIT)
    assert sum(found.histogram) == len(values)
    assert list(found.quantiles) == sorted(found.quantiles) and len(found.quantiles) == len(QUANTILES)


def test_shares_and_attention_of_a_group(make_queries):
    queries = make_queries(
        [0.6, 0.2, 0.5, 0.1], camera=[0.1, 0.3, 0.5, 0.0], lidar_mass=[[1, 0], [0, 0], [1, 1], [0, 0]]
    )
    found = describe(queries, UNIT, limit=0.5)
    assert (found.queries, found.prefer_lidar, found.prefer_camera) == (4, 0.5, 0.25)
    assert found.leaning == 0.25
    assert found.lidar_mass == (0.5, 0.25)
    assert describe(queries.select(np.zeros(4, bool)), UNIT, limit=0.5) is None


def test_groups_without_queries_are_left_out(make_queries):
    queries = make_queries([0.1, 0.3, 0.5])
    grouping = Grouping("class", ("a", "b", "c"), np.array([2, 0, -1]))
    found = describe_groups(queries, [grouping], UNIT, limit=0.5)
    assert list(found["class"]) == ["a", "c"]
    assert found["class"]["a"].lidar.mean == pytest.approx(0.3)
