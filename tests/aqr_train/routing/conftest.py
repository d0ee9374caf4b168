"""Queries by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aqr_train.routing.queries import Queries


@pytest.fixture
def make_queries() -> Callable[..., Queries]:
    """`make_queries(lidar weights, **columns)`; columns that are not given are zeros, truth is -1."""

    def make(lidar: list[float], **columns: Any) -> Queries:  # noqa: ANN401
        count = len(lidar)
        given = {
            "keyframe": np.zeros(count),
            "weights": np.stack([lidar, columns.pop("camera", np.zeros(count))], axis=1),
            "lidar_mass": np.zeros((count, 2)),
            "label": np.zeros(count),
            "score": np.zeros(count),
            "truth": np.full(count, -1),
            "distance_m": np.zeros(count),
            "cameras": np.zeros(count),
        }
        given |= {name: np.asarray(values) for name, values in columns.items()}
        types = {"keyframe": np.int32, "label": np.int16, "truth": np.int16, "cameras": np.int8}
        return Queries(**{name: values.astype(types.get(name, np.float32)) for name, values in given.items()})

    return make
