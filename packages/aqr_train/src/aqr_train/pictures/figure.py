"""The whole picture: six images, the bird's-eye view, a table of the chosen queries and the scale of the colours."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from aqr_eval.report.scene import CAMERA_LAYOUT
from aqr_eval.whole_files import replacing
from aqr_train.pictures.colors import WEIGHT_MAP, query_color, weight_norm
from aqr_train.pictures.panels import draw_bev, draw_image
from aqr_train.pictures.scene import SCORE_SHOWN, RoutedScene

_WIDTH_IN = 15.0
_COLUMNS = 3
_DEFAULT_QUERIES = 5
_TABLE = ((0.06, "query"), (0.16, "class"), (0.41, "score"), (0.50, "LiDAR"), (0.60, "camera"), (0.70, "seen by"))


def draw_weights(scene: RoutedScene, queries: Sequence[int] | None = None, note: str = "") -> Figure:
    """Draw one scene.

    Args:
        scene: from `look`.
        queries: whose windows are drawn; by default of the queries with the highest scores. Boxes are drawn of all
            queries from `SCORE_SHOWN` on, and of these.
        note: behind the token in the title.
    """
    chosen = scene.best_queries(_DEFAULT_QUERIES) if queries is None else list(dict.fromkeys(queries))
    shown = [query for query in np.flatnonzero(scene.scores >= SCORE_SHOWN).tolist() if query not in chosen] + chosen
    windows = {query: scene.windows(query) for query in chosen}
    norm = weight_norm(_coloured(scene), scene.neutral)

    cameras = _camera_order(scene) if scene.image_grid is not None else []
    image_rows = math.ceil(len(cameras) / _COLUMNS)
    height, width = scene.images.shape[1:3] if cameras else (0, 1)
    images_in = image_rows * (_WIDTH_IN / _COLUMNS * height / width + 0.3)
    below_in = max(7.6 if scene.bev_grid is not None else 0.0, 4.8 + 0.32 * len(chosen))
    figure = Figure(figsize=(_WIDTH_IN, 0.5 + images_in + below_in), layout="constrained")
    figure.suptitle(f"Keyframe {scene.token}{note}", fontsize=11, x=0.01, ha="left")
    below: Figure | SubFigure = figure
    if cameras:
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(images_in, below_in))[:, 0]
        panels = above.subplots(image_rows, _COLUMNS, squeeze=False).ravel()
        for axes in panels[len(cameras) :]:
            axes.set_axis_off()
        for axes, camera in zip(panels, cameras, strict=False):
            draw_image(axes, scene, camera, windows, shown, norm)
    lines_in = 0.7 + 0.32 * len(chosen)
    spec = below.add_gridspec(3, 2, width_ratios=(1, 1.05), height_ratios=(lines_in, 0.2, below_in - lines_in - 0.9))
    if scene.bev_grid is not None:
        draw_bev(below.add_subplot(spec[:, 0]), scene, windows, shown, norm)
    _write_table(below.add_subplot(spec[0, 1]), scene, chosen)
    _draw_scale(below.add_subplot(spec[1, 1]), scene, norm)
    _write_guide(below.add_subplot(spec[2, 1]), scene)
    # What is drawn inside the panels, tags at their borders above all, must not push the panels about.
    for axes in figure.findobj(Axes):
        for artist in (*axes.collections, *axes.patches, *axes.texts):
            artist.set_in_layout(False)
    return figure


def write_png(path: Path, figure: Figure, dpi: int = 110) -> None:
    """Write a figure under a temporary name, then rename it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def render(figure: Figure, dpi: int) -> NDArray[np.uint8]:
    """(height, width, 3) RGB pixels of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=dpi)
    width, height = (int(inches * dpi) for inches in figure.get_size_inches())
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]


def _coloured(scene: RoutedScene) -> NDArray[np.float64]:
    """Every value that gets a colour: the maps of v1 and v2, else the weights."""
    maps = scene.aqr.maps
    if maps is None:
        return scene.weights
    parts = [part.double().cpu().numpy().ravel() for part in (maps.bev, maps.image) if part is not None]
    return np.concatenate(parts)


def _camera_order(scene: RoutedScene) -> list[int]:
    """Numbers of the images, as seen from the driver's seat; unknown names last."""
    place = {name: position for position, name in enumerate(CAMERA_LAYOUT)}
    names = scene.cameras[: len(scene.images)]
    return sorted(range(len(names)), key=lambda camera: place.get(names[camera], len(place)))


def _write_table(axes: Axes, scene: RoutedScene, chosen: Sequence[int]) -> None:
    """One line per chosen query, behind a square of its colour."""
    lines = len(chosen) + 2
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(lines, 0))
    axes.text(_TABLE[3][0], 0.5, "weights", fontsize=9, va="center", color="0.4")
    for x, name in _TABLE:
        axes.text(x, 1.2, name, fontsize=9, va="center", color="0.4")
    seen = scene.aqr.cells.visible[0].cpu().numpy()
    for position, query in enumerate(chosen):
        y = position + 2.2
        axes.plot(0.025, y, marker="s", markersize=9, color=query_color(position), clip_on=False)
        views = [scene.cameras[i].removeprefix("CAM_").replace("_", " ").lower() for i in np.flatnonzero(seen[query])]
        cells = (
            str(query),
            scene.class_names[scene.labels[query]].replace("_", " "),
            f"{scene.scores[query]:.2f}",
            *scene.write_weights(query),
            ", ".join(views) or "no camera",
        )
        for (x, _), text in zip(_TABLE, cells, strict=True):
            axes.text(x, y, text, fontsize=10, va="center")


def _draw_scale(axes: Axes, scene: RoutedScene, norm: Normalize) -> None:
    """Colours and what they mean; weights have no unit."""
    bar = axes.figure.colorbar(ScalarMappable(norm, WEIGHT_MAP), cax=axes, orientation="horizontal")
    what = "weight map" if scene.aqr.maps is not None else "query weight"
    where = "LiDAR over the bird's-eye view, camera over the images"
    bar.set_label(f"{what}, no unit: {where}; {scene.neutral:g} is neutral")


def _write_guide(axes: Axes, scene: RoutedScene) -> None:
    """How to read the picture."""
    axes.set_axis_off()
    camera_edge, lidar_edge = scene.edges
    if scene.aqr.maps is not None:
        lines = ["Colour: the weight map that acts on the features; the paler, the less they change."]
    else:
        lines = ["Coloured squares: cells with queries, by their mean weight."]
    what = "attention bias acts" if scene.biased else "weight generator reads"
    lines += [
        f"Rectangles: windows in which the {what}, {lidar_edge} x {lidar_edge} cells of the BEV map and",
        f"{camera_edge} x {camera_edge} of an image, cut at the borders. Dot: the query's own cell.",
        "Tag: query, LiDAR (L) and camera (C) weight.",
        f"Boxes: predicted solid (score {SCORE_SHOWN:g} or more; those of the table in its colours), annotated dashed.",
    ]
    if scene.aqr.scale is not None:
        scale = float(scene.aqr.scale)
        more, less = math.exp(0.2 * scale), math.exp(-0.2 * scale)
        lines += [
            f"Bias on the logits there = scale {scale:.2f} x weight: before attention is normalised, a cell gets",
            f"{more:.2f} times its share at weight +0.2 and {less:.2f} times at -0.2.",
        ]
    axes.text(0, 0.98, "\n".join(lines), fontsize=10, va="top", linespacing=1.6, transform=axes.transAxes)
