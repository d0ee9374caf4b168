"""One camera image with boxes: a JPEG below, vector edges and scores above it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.geometry import invert_rigid
from aqr_eval.nuscenes.tables import SensorFrame
from aqr_eval.report.boxes import DrawnBoxes
from aqr_eval.report.projection import box_segments

Array = NDArray[np.float64]

CANVAS_WIDTH = 800  # user units of the drawing; the page scales it
_JPEG_WIDTH, _JPEG_QUALITY = 1200, 78
_SMALLEST_LABELLED = 14.0  # boxes lower than this many units carry no score: it would cover them
_TAG_WIDTH, _TAG_HEIGHT = 34, 17


def camera_svg(image_path: Path, camera: SensorFrame, truth: DrawnBoxes, predictions: Sequence[DrawnBoxes]) -> str:
    """The drawing of one camera: the photograph, true boxes dashed, each submission's boxes in a layer of its own.

    Raises:
        DataError: the image file is missing or damaged, or the camera has no intrinsic matrix.
    """
    if camera.intrinsic is None:
        raise DataError(
            f"{camera.channel} of {camera.filename} has no camera_intrinsic: complete calibrated_sensor.json."
        )
    picture, width, height = _load(image_path)
    scale = CANVAS_WIDTH / width
    canvas_height = height * scale
    to_canvas = np.diag([scale, scale, 1.0])
    global2camera = invert_rigid(camera.ego2global @ camera.sensor2ego)

    def segments(boxes: DrawnBoxes) -> tuple[Array, NDArray[np.bool_]]:
        intrinsic = to_canvas @ camera.intrinsic
        return box_segments(boxes.corners, global2camera, intrinsic, CANVAS_WIDTH, canvas_height)

    name = camera.channel.removeprefix("CAM_").replace("_", " ").lower()
    parts = [
        f'<svg class="camera" viewBox="0 0 {CANVAS_WIDTH} {canvas_height:g}" role="img" aria-label="{escape(name)}">',
        f'<image href="{_data_uri(picture)}" width="{CANVAS_WIDTH}" height="{canvas_height:g}"/>',
    ]
    layers = [(boxes, *segments(boxes)) for boxes in predictions]
    for index, layer in enumerate(layers):
        parts.append(f'<g class="predicted of-{index}">{_edges(*layer)}</g>')
    parts.append(f'<g class="true">{_edges(truth, *segments(truth))}</g>')
    for index, layer in enumerate(layers):
        parts.append(f'<g class="predicted of-{index}">{_scores(*layer, canvas_height)}</g>')
    return "".join(parts) + "</svg>"


def _load(path: Path) -> tuple[Image.Image, int, int]:
    """The image, wide enough for an enlarged view, and its size on disk in pixels."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"Image {path} is missing: complete the dataset under dataroot or use --samples 0.") from error
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"Image {path} cannot be decoded ({error}): copy the file again.") from error
    width, height = picture.size
    if width > _JPEG_WIDTH:
        picture = picture.resize((_JPEG_WIDTH, round(height * _JPEG_WIDTH / width)), Image.Resampling.LANCZOS)
    return picture, width, height


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _edges(boxes: DrawnBoxes, lines: Array, visible: NDArray[np.bool_]) -> str:
    """One path per visible box, over one common dark casing that keeps thin lines readable on bright ground."""
    shown = np.flatnonzero(visible.any(axis=1))
    paths = {int(i): "".join(_segment(*line.ravel()) for line in lines[i][visible[i]]) for i in shown}
    casing = f'<path class="casing" d="{"".join(paths.values())}"/>' if paths else ""
    return casing + "".join(
        f'<path class="edge class-{boxes.labels[i]}" d="{path}"><title>{escape(boxes.caption(i))}</title></path>'
        for i, path in paths.items()
    )


def _segment(x0: float, y0: float, x1: float, y1: float) -> str:
    return f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"


def _scores(boxes: DrawnBoxes, lines: Array, visible: NDArray[np.bool_], canvas_height: float) -> str:
    """Scores on tags above (or below) their boxes, best first; a tag that would cover another is left out."""
    if boxes.scores is None:
        return ""
    taken: list[tuple[float, float]] = []
    parts = []
    for i in np.argsort(-boxes.scores, kind="stable"):
        if not visible[i].any():
            continue
        points = lines[i][visible[i]].reshape(-1, 2)
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        if bottom - top < _SMALLEST_LABELLED:
            continue
        x = float(np.clip((left + right) / 2, _TAG_WIDTH / 2, CANVAS_WIDTH - _TAG_WIDTH / 2))
        for y in (top - _TAG_HEIGHT - 3, bottom + 3):
            free = all(abs(x - u) > _TAG_WIDTH or abs(y - v) > _TAG_HEIGHT for u, v in taken)
            if free and 0 <= y <= canvas_height - _TAG_HEIGHT:
                taken.append((x, y))
                parts.append(_tag(x, y, f"{boxes.scores[i]:.2f}", int(boxes.labels[i])))
                break
    return "".join(parts)


def _tag(x: float, y: float, text: str, label: int) -> str:
    """Text on a dark ground, centred at x, with its upper edge at y."""
    return (
        f'<rect class="tag" x="{x - _TAG_WIDTH / 2:.1f}" y="{y:.1f}" width="{_TAG_WIDTH}" height="{_TAG_HEIGHT}"/>'
        f'<text class="class-{label}" x="{x:.1f}" y="{y + _TAG_HEIGHT - 4:.1f}">{text.removeprefix("0")}</text>'
    )
