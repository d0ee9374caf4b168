"""Finds out which of mmdetection3d's two box conventions a file holds.

* `lwh`: x, y, z, length, width, height, yaw (from version 1.0 on)
* `wlh`: x, y, z, width, length, height, -yaw - pi/2 (before)

Both fill the same seven columns, and a file need not say which it has. Taking one for the other turns every box
by 90 degrees or mirrors it, without any error. Cars, trucks and buses give it away: all are longer than wide.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aqr_core.errors import DataError

BOX_CONVENTIONS = ("lwh", "wlh")
_LONG_CLASSES = ("car", "truck", "bus")
_ENOUGH, _PLENTY = 3, 1000  # vehicles to judge by, and to stop at


def decide_convention(path: Path, declared: str | None, frames: Iterable[tuple[list[str], np.ndarray]]) -> str:
    """What was declared, checked against the proportions of the vehicles, or these alone.

    Args:
        path: named in errors.
        declared: 'lwh', 'wlh', or None where neither the caller nor the file says.
        frames: per keyframe n class names and (n, 2) the first two sizes as they stand in the file.

    Raises:
        DataError: undecidable, or declared against the evidence.
    """
    if declared not in (None, *BOX_CONVENTIONS):
        raise DataError(f"Box convention {declared!r} is not known; give 'lwh' or 'wlh'.")
    vehicles, longer_first, any_box = 0, 0, False
    for names, sizes in frames:
        any_box |= len(names) > 0
        long_ones = sizes[[name in _LONG_CLASSES for name in names]]
        vehicles += len(long_ones)
        longer_first += int((long_ones[:, 0] > long_ones[:, 1]).sum())
        if vehicles >= _PLENTY:
            break
    share = longer_first / max(vehicles, 1)
    observed = None
    if vehicles >= _ENOUGH and not 0.1 < share < 0.9:
        observed = "lwh" if share >= 0.9 else "wlh"
    if declared and observed and declared != observed:
        raise DataError(
            f"{path} should hold '{declared}' boxes, but of {vehicles} vehicles {longer_first} are longer in the first "
            f"size, which means '{observed}'; pass box_convention='{observed}' if the file's metadata are wrong."
        )
    if any_box and not (declared or observed):
        raise DataError(
            f"{path} does not say whether its boxes are 'lwh' or 'wlh', and its {vehicles} vehicles do not tell; "
            "pass box_convention."
        )
    return declared or observed or BOX_CONVENTIONS[0]
