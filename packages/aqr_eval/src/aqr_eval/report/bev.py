"""The bird's-eye view of one sample: LiDAR points by height, the ego vehicle, boxes, headings and velocities.

The view lies in the ego frame at the LiDAR's time: forward is up, left is left.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.geometry import invert_rigid, transform_points
from aqr_eval.nuscenes.tables import SensorFrame
from aqr_eval.report.boxes import DrawnBoxes, Layer
from aqr_eval.report.colors import height_colors

Array = NDArray[np.float64]

RANGE_M = 54.0  # half the side of the view, the detection range of the usual LiDAR detectors
CANVAS = 720  # user units of its side
_RASTER = 1080  # pixels of the point layer's side
_POINT_COLUMNS = 5
_LOWER_FACE = (3, 2, 6, 7)
_VELOCITY_SECONDS = 1.0  # an arrow reaches where the box will be after this time
_SLOWEST_ARROW_MPS = 0.5
_MARK_MARGIN = 6.0  # user units


def bev_svg(points_path: Path, lidar: SensorFrame, truth: DrawnBoxes, layers: Sequence[Layer]) -> str:
    """The drawing: grid rings, points, true boxes dashed, each submission's boxes and mistakes in its layers.

    Raises:
        DataError: the point file is missing or its length is not a whole number of points.
    """
    global2ego = invert_rigid(lidar.ego2global)
    points = transform_points(lidar.sensor2ego, read_points(points_path))
    parts = [
        f'<svg class="bev" viewBox="0 0 {CANVAS} {CANVAS}" role="img" aria-label="Bird\'s-eye view">',
        f'<image href="{_points_uri(points)}" width="{CANVAS}" height="{CANVAS}"/>',
        _rings(),
    ]
    for index, layer in enumerate(layers):
        parts.append(f'<g class="predicted of-{index}">{_outlines(layer.predicted, global2ego)}</g>')
    parts.append(f'<g class="true">{_outlines(truth, global2ego)}</g>')
    for index, layer in enumerate(layers):
        wrong = layer.predicted.corners[layer.false_positive]
        marks = _marks(layer.missed.corners, global2ego, _circle) + _marks(wrong, global2ego, _cross)
        parts.append(f'<g class="mistake of-{index}">{marks}</g>')
    return "".join(parts) + "</svg>"


def read_points(path: Path) -> Array:
    """(P, 3) finite points of a nuScenes `.pcd.bin` file (float32 x, y, z, intensity, ring), LiDAR frame, metres."""
    try:
        values = np.fromfile(path, dtype="<f4")
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise DataError(
            f"Point file {path} is missing: complete the dataset under dataroot, or show no frames "
            "(--worst 0 --samples 0)."
        ) from error
    if size % (4 * _POINT_COLUMNS):
        raise DataError(
            f"Point file {path} has {size} bytes, not a multiple of {4 * _POINT_COLUMNS} "
            "(five float32 per point): copy the file again."
        )
    points = values.reshape(-1, _POINT_COLUMNS)[:, :3].astype(np.float64)
    return points[np.isfinite(points).all(axis=1)]


def to_canvas(points: Array) -> Array:
    """(..., 2+) ego coordinates in metres -> (..., 2) user units: forward up, left to the left."""
    scale = CANVAS / (2 * RANGE_M)
    return np.stack([CANVAS / 2 - points[..., 1] * scale, CANVAS / 2 - points[..., 0] * scale], axis=-1)


def _points_uri(points: Array) -> str:
    """A transparent PNG with one dot per point; the highest point of a pixel wins."""
    pixels = np.floor(to_canvas(points) * (_RASTER / CANVAS)).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < _RASTER - 1)).all(axis=1)
    points, pixels = points[inside], pixels[inside]
    order = np.argsort(points[:, 2], kind="stable")
    column, row = pixels[order].T
    raster = np.zeros((_RASTER, _RASTER, 4), dtype=np.uint8)
    for down, right in ((1, 1), (1, 0), (0, 1), (0, 0)):
        raster[row + down, column + right, :3] = height_colors(points[order, 2])
        raster[row + down, column + right, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(raster, "RGBA").save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _rings() -> str:
    centre, scale = CANVAS / 2, CANVAS / (2 * RANGE_M)
    rings = "".join(
        f'<circle class="ring" cx="{centre}" cy="{centre}" r="{radius * scale:.1f}"/>'
        f'<text class="ring-label" x="{centre + radius * scale * 0.7071 + 3:.0f}" '
        f'y="{centre + radius * scale * 0.7071 + 10:.0f}">{radius} m</text>'
        for radius in (10, 20, 30, 40, 50)
    )
    # A car of 4.1 m x 1.7 m whose rear axle is the origin of the ego frame.
    nose, tail, side = 3.1 * scale, 1.0 * scale, 0.85 * scale
    ego = (
        f"M{centre - side:.1f} {centre + tail:.1f}v{-(nose + tail) * 0.7:.1f}L{centre} {centre - nose:.1f}"
        f"L{centre + side:.1f} {centre + tail - (nose + tail) * 0.7:.1f}v{(nose + tail) * 0.7:.1f}z"
    )
    return f'{rings}<path class="ego" d="{ego}"><title>ego vehicle</title></path>'


def _outlines(boxes: DrawnBoxes, global2ego: Array) -> str:
    """Footprint, heading tick and velocity arrow of every box whose centre lies in view."""
    corners = transform_points(global2ego, boxes.corners)
    velocity = boxes.velocity @ global2ego[:2, :2].T
    parts = []
    for i, footprint in enumerate(corners[:, _LOWER_FACE]):
        centre, nose = footprint.mean(axis=0), footprint[:2].mean(axis=0)
        if np.abs(centre[:2]).max() > RANGE_M:
            continue
        tick = centre + (nose - centre) * 1.35
        ring = "L".join(f"{x:.1f} {y:.1f}" for x, y in to_canvas(footprint))
        path = f"M{ring}ZM{_pair(nose)}L{_pair(tick)}"
        css = f"class-{boxes.labels[i]}"
        parts.append(f'<path class="edge {css}" d="{path}"><title>{escape(boxes.caption(i))}</title></path>')
        if np.hypot(*velocity[i]) >= _SLOWEST_ARROW_MPS:
            parts.append(f'<path class="arrow {css}" d="{_arrow(centre[:2], velocity[i])}"/>')
    return "".join(parts)


def _marks(corners: Array, global2ego: Array, draw: Callable[[Array], str]) -> str:
    """`draw` of the footprint of every box whose centre lies in view, (4, 2) user units."""
    footprints = transform_points(global2ego, corners)[:, _LOWER_FACE]
    inside = np.abs(footprints.mean(axis=1)[:, :2]).max(axis=1, initial=0) <= RANGE_M
    return "".join(map(draw, to_canvas(footprints[inside])))


def _circle(footprint: Array) -> str:
    """Around a missed box."""
    x, y = footprint.mean(axis=0)
    radius = float(np.hypot(*(footprint - (x, y)).T).max()) + _MARK_MARGIN
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'


def _cross(footprint: Array) -> str:
    """Upon a false positive, large enough to be seen upon a cone."""
    x, y = footprint.mean(axis=0)
    reach = max(float(np.hypot(*(footprint - (x, y)).T).max()) * 0.7, _MARK_MARGIN)
    path = f"M{x - reach:.1f} {y - reach:.1f}l{2 * reach:.1f} {2 * reach:.1f}m0 {-2 * reach:.1f}l{-2 * reach:.1f} "
    return f'<path class="mark" d="{path}{2 * reach:.1f}"/>'


def _arrow(start: Array, velocity: Array) -> str:
    tip = start + velocity * _VELOCITY_SECONDS
    along = velocity / np.hypot(*velocity)
    across = np.array([-along[1], along[0]])
    barbs = [tip - 0.9 * along + side * 0.5 * across for side in (1, -1)]
    return f"M{_pair(start)}L{_pair(tip)}M{_pair(barbs[0])}L{_pair(tip)}L{_pair(barbs[1])}"


def _pair(point: Array) -> str:
    x, y = to_canvas(point)
    return f"{x:.1f} {y:.1f}"
