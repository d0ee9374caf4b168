"""The two kinds of panels: the bird's-eye view with LiDAR weights, an image with camera weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from aqr_core.structures.boxes3d import DX, DZ, YAW, size_to_wlh
from aqr_eval.nuscenes.geometry import yaw_to_quaternion
from aqr_eval.report.projection import box_corners, box_segments
from aqr_train.pictures.colors import WEIGHT_MAP, query_color
from aqr_train.pictures.scene import RoutedScene
from aqr_train.pictures.windows import MapGrid, WindowRectangle

Array = NDArray[np.float64]
Windows = Mapping[int, Sequence[WindowRectangle]]

_PREDICTED = "#222222"
_DASHED = (0, (3, 2))
_FOOTPRINT = [3, 2, 6, 7, 3]  # corners of the lower face of `box_corners`, closed
_NOSE = [2, 3]
_TAG_SHARE = 0.08  # of the height of a panel that a tag takes at most


def draw_bev(axes: Axes, scene: RoutedScene, windows: Windows, shown: Sequence[int], norm: Normalize) -> None:
    """LiDAR weights, points, boxes and windows; x right, y forward, metres.

    Args:
        axes: an empty panel.
        scene: what to draw; it has a BEV map.
        windows: query -> its windows; their order gives each query its colour.
        shown: queries whose boxes are drawn.
        norm: of the weight colours.
    """
    grid, cells, maps = scene.bev_grid, scene.aqr.cells, scene.aqr.maps
    assert grid is not None
    right, top = grid.position(grid.rows, grid.cols)
    axes.set(xlim=(grid.x, right), ylim=(grid.y, top), aspect="equal", xlabel="x, m (right)", ylabel="y, m (forward)")
    axes.scatter(scene.points[:, 0], scene.points[:, 1], s=1.2, c="#9aa0aa", linewidths=0, zorder=1)
    overlay = _overlay(
        None if maps is None or maps.bev is None else maps.bev[0],
        cells.bev_cell[0],
        cells.in_bev[0],
        scene.weights[:, 0],
        grid,
        norm,
    )
    axes.imshow(overlay, extent=(grid.x, right, grid.y, top), origin="lower", interpolation="nearest", zorder=2)
    axes.plot(0, 0, marker="^", color="k", markersize=8, zorder=6)
    outlines = [corners[_FOOTPRINT, :2] for corners in _corners(scene.true_boxes)]
    axes.add_collection(LineCollection(outlines, colors="k", linewidths=1.0, linestyles=_DASHED, zorder=4))
    for query, corners in zip(shown, _corners(scene.boxes[list(shown)]), strict=True):
        centre, nose = corners[:, :2].mean(axis=0), corners[_NOSE, :2].mean(axis=0)
        lines = [corners[_FOOTPRINT, :2], np.stack([nose, centre + (nose - centre) * 1.35])]
        width = 2.2 if query in windows else 1.0
        axes.add_collection(LineCollection(lines, colors=_color(query, windows), linewidths=width, zorder=5))
    _draw_windows(axes, scene, None, windows)


def draw_image(
    axes: Axes, scene: RoutedScene, camera: int, windows: Windows, shown: Sequence[int], norm: Normalize
) -> None:
    """One photograph with camera weights, boxes and windows; pixels. Arguments as in `draw_bev`."""
    grid, cells, maps = scene.image_grid, scene.aqr.cells, scene.aqr.maps
    assert grid is not None
    height, width = scene.images.shape[1:3]
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    axes.set_title(scene.cameras[camera].removeprefix("CAM_").replace("_", " ").lower(), fontsize=9, loc="left", pad=3)
    overlay = _overlay(
        None if maps is None or maps.image is None else maps.image[0, camera],
        cells.image_cell[0, :, camera],
        cells.visible[0, :, camera],
        scene.weights[:, 1],
        grid,
        norm,
    )
    extent = (0, width, height, 0)
    axes.imshow(_faded(scene.images[camera]), extent=extent, zorder=1)
    axes.imshow(overlay, extent=extent, interpolation="nearest", zorder=2)
    styles: list[tuple[str, Any, float]] = [("k", _DASHED, 1.0)] * len(scene.true_boxes)
    styles += [(_color(query, windows), "solid", 1.4) for query in shown]
    boxes = np.concatenate([scene.true_boxes, scene.boxes[list(shown)]])
    # The matrix ends in pixels times depth, so the pinhole that is left is the identity.
    segments, visible = box_segments(_corners(boxes), scene.lidar2img[camera], np.eye(3), width, height)
    for lines, seen, (color, style, thickness) in zip(segments, visible, styles, strict=True):
        axes.add_collection(LineCollection(lines[seen], colors=color, linewidths=thickness, linestyles=style, zorder=4))
    _draw_windows(axes, scene, camera, windows)


def mean_per_cell(cells: NDArray[np.int64], weights: Array, shape: tuple[int, int]) -> Array:
    """(n, 2) row and column of n queries, (n,) weights -> (rows, columns) mean weight, NaN where no query lies."""
    flat = np.ravel_multi_index((cells[:, 0], cells[:, 1]), shape)
    count = np.bincount(flat, minlength=shape[0] * shape[1])
    total = np.bincount(flat, weights, minlength=shape[0] * shape[1])
    mean: Array = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0).reshape(shape)
    return mean


def _overlay(
    weight_map: Tensor | None, cells: Tensor, present: Tensor, weights: Array, grid: MapGrid, norm: Normalize
) -> Array:
    """(rows, columns, 4) colours of a weight map, or without one of the mean weight of each cell's queries."""
    if weight_map is not None:
        values = weight_map.double().cpu().numpy()
        opacity = 0.8 * np.abs(2 * np.asarray(norm(values)) - 1).clip(0, 1)  # what a map leaves alone stays as it is
    else:
        inside = present.cpu().numpy()
        values = mean_per_cell(cells.cpu().numpy()[inside], weights[inside], (grid.rows, grid.cols))
        opacity = np.where(np.isnan(values), 0.0, 0.75)
    colors: Array = WEIGHT_MAP(norm(np.nan_to_num(values)))
    colors[..., 3] = opacity
    return colors


def _faded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) nearly grey and pale, so that colours of weights and queries are the only strong ones."""
    pixels = image.astype(np.float64)
    grey = pixels.mean(axis=-1, keepdims=True)
    return np.asarray(255 - 0.7 * (255 - (0.25 * pixels + 0.75 * grey)), np.uint8)


def _draw_windows(axes: Axes, scene: RoutedScene, camera: int | None, windows: Windows) -> None:
    """On the panel of one map: per window a rectangle, a dot in the query's own cell, and a tag with its weights."""
    grid, cells = scene.bev_grid, scene.aqr.cells.bev_cell[0]
    if camera is not None:
        grid, cells = scene.image_grid, scene.aqr.cells.image_cell[0, :, camera]
    assert grid is not None
    bottom, top = axes.get_ylim()
    for query, window in [(q, w) for q, found in windows.items() for w in found if w.camera == camera]:
        color, (row, col) = _color(query, windows), cells[query].tolist()
        x0, y0 = grid.position(window.top, window.left)
        x1, y1 = grid.position(window.bottom, window.right)
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=1.8, zorder=7))
        axes.plot(*grid.position(row + 0.5, col + 0.5), "o", markersize=5, color=color, markeredgecolor="w", zorder=8)
        # Above the window, where it covers nothing of it, unless the panel ends there.
        upper = y1 if camera is None else y0
        fits = abs(top - upper) > _TAG_SHARE * abs(top - bottom)
        lidar_weight, camera_weight = scene.write_weights(query)
        axes.text(
            x0,
            upper,
            f"{query}: L {lidar_weight} C {camera_weight}",
            color="w",
            fontsize=7,
            va="bottom" if fits else "top",
            zorder=9,
            clip_on=True,
            bbox=dict(boxstyle="square,pad=0.15", facecolor=color, edgecolor=color, linewidth=1.8),
        )


def _color(query: int, windows: Windows) -> str:
    return query_color(list(windows).index(query)) if query in windows else _PREDICTED


def _corners(boxes: Array) -> Array:
    """(n, 9) boxes -> (n, 8, 3) in the order of `aqr_eval.report.projection`."""
    return box_corners(boxes[:, :3], size_to_wlh(boxes[:, DX : DZ + 1]), yaw_to_quaternion(boxes[:, YAW]))
