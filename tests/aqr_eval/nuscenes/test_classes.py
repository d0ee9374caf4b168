from __future__ import annotations

import math

import pytest

from aqr_eval.nuscenes.classes import (
    ATTRIBUTES,
    CAMERAS,
    CATEGORY_TO_CLASS,
    CLASS_RANGE_M,
    DETECTION_CLASSES,
    default_attribute,
)


def test_every_class_has_categories_a_range_and_a_place():
    assert len(DETECTION_CLASSES) == 10 and len(CAMERAS) == 6 and len(ATTRIBUTES) == 8
    assert set(CATEGORY_TO_CLASS.values()) == set(DETECTION_CLASSES) == set(CLASS_RANGE_M)


@pytest.mark.parametrize(
    ("name", "speed", "attribute"),
    [
        ("car", 0.21, "vehicle.moving"),
        ("car", 0.2, "vehicle.parked"),
        ("bus", 0.0, "vehicle.stopped"),
        ("bicycle", 5.0, "cycle.with_rider"),
        ("motorcycle", 0.0, "cycle.without_rider"),
        ("pedestrian", 0.1, "pedestrian.standing"),
        ("pedestrian", math.nan, "pedestrian.standing"),
        ("barrier", 3.0, ""),
        ("traffic_cone", 0.0, ""),
    ],
)
def test_default_attribute(name, speed, attribute):
    assert default_attribute(name, speed) == attribute


def test_default_attributes_are_real_ones():
    for name in DETECTION_CLASSES:
        for speed in (0.0, 1.0):
            assert default_attribute(name, speed) in (*ATTRIBUTES, "")
