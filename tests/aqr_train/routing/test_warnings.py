from __future__ import annotations

import pytest

from aqr_train.routing.warnings import SMALL_CLASSES, lidar_limit, routing_warnings


def test_nothing_given_nothing_warned():
    assert routing_warnings() == []


@pytest.mark.parametrize(("scale", "warned"), [(4.5, False), (4.51, True), (5.0, True)])
def test_a_scale_above_nine_tenths_of_its_maximum(scale, warned):
    found = routing_warnings(scale=scale, max_scale=5.0)
    assert [("lower max_scale" in line) for line in found] == [True] * warned


def test_small_classes_that_lean_on_lidar():
    leaning = {"bicycle": 0.51, "pedestrian": 0.5, "car": 1.0, "barrier": 1.0}
    (line,) = routing_warnings(leaning=leaning)
    assert line.startswith("51% of the bicycle queries have a LiDAR weight above 0.5,") and "bias_scale" in line
    (line,) = routing_warnings(leaning=leaning, neutral=1.0)
    assert "above 1.5," in line and "max_weight_clamp" in line
    assert (lidar_limit(0.0), lidar_limit(1.0)) == (0.5, 1.5)
    assert len(routing_warnings(leaning=dict.fromkeys(SMALL_CLASSES, 1.0))) == 4


def test_maps_at_their_clamp():
    (line,) = routing_warnings(at_clamp={"bev": 0.05, "image": 0.06})
    assert line.startswith("6% of the cells of the image map") and "max_weight_clamp" in line
