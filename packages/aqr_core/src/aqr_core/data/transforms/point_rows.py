"""Points picked out of a cloud."""

from __future__ import annotations

import numpy as np


def pick_points(points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """`points[chosen]` for (P, C) points and a (P,) bool mask or integer indices; a copy.

    Each point moves as one item of 4 C bytes instead of C items, which takes half to a third of the time. Before picks
    in any order the cloud is read once from front to back: from the cache they then take less than half.
    """
    row = np.dtype((np.void, points.itemsize * points.shape[1]))
    rows = np.ascontiguousarray(points).view(row)[:, 0]
    if chosen.dtype == bool:
        picked = rows[chosen]
    else:
        points[:, 0].max(initial=0)  # touches every cache line
        picked = rows.take(chosen)
    return picked.view(points.dtype).reshape(-1, points.shape[1])
