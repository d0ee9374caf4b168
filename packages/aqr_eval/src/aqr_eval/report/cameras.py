"""One camera image with boxes: a JPEG below, vector edges and tags above it."""

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
from aqr_eval.report.boxes import DrawnBoxes, Layer
from aqr_eval.report.projection import box_segments
from aqr_eval.report.tags import Tags, extents

Array = NDArray[np.float64]

CANVAS_WIDTH = 800  # user units of the drawing; the page scales it
_JPEG_WIDTH, _JPEG_QUALITY = 1200, 78


def camera_svg(image_path: Path, camera: SensorFrame, truth: DrawnBoxes, layers: Sequence[Layer]) -> str:
    """The drawing of one camera: the photograph, true boxes dashed, each submission's boxes and mistakes in its layers.

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
    intrinsic = np.diag([scale, scale, 1.0]) @ camera.intrinsic
    global2camera = invert_rigid(camera.ego2global @ camera.sensor2ego)

    def segments(boxes: DrawnBoxes) -> tuple[Array, NDArray[np.bool_]]:
        return box_segments(boxes.corners, global2camera, intrinsic, CANVAS_WIDTH, canvas_height)

    name = camera.channel.removeprefix("CAM_").replace("_", " ").lower()
    halos, edges, tags = [], [], []
    for index, layer in enumerate(layers):
        predicted, missed = segments(layer.predicted), segments(layer.missed)
        halo = _path(*missed) + _path(predicted[0], predicted[1] & layer.false_positive[:, None])
        halos.append(f'<g class="mistake of-{index}"><path class="halo" d="{halo}"/></g>' if halo else "")
        edges.append(f'<g class="predicted of-{index}">{_edges(layer.predicted, *predicted)}</g>')
        placed = Tags(CANVAS_WIDTH, canvas_height)
        lost = placed.missed(extents(*missed))
        scores = placed.scores(layer.predicted, layer.false_positive, extents(*predicted))
        tags.append(f'<g class="predicted of-{index}">{scores}</g><g class="mistake of-{index}">{lost}</g>')
    return (
        f'<svg class="camera" viewBox="0 0 {CANVAS_WIDTH} {canvas_height:g}" role="img" aria-label="{escape(name)}">'
        f'<image href="{_data_uri(picture)}" width="{CANVAS_WIDTH}" height="{canvas_height:g}"/>'
        f"{''.join(halos)}{''.join(edges)}"
        f'<g class="true">{_edges(truth, *segments(truth))}</g>{"".join(tags)}</svg>'
    )


def _load(path: Path) -> tuple[Image.Image, int, int]:
    """The image, wide enough for an enlarged view, and its size on disk in pixels."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(
            f"Image {path} is missing: complete the dataset under dataroot or show no frames (--worst 0 --samples 0)."
        ) from error
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
    paths = {int(i): _path(lines[i], visible[i]) for i in shown}
    casing = f'<path class="casing" d="{"".join(paths.values())}"/>' if paths else ""
    return casing + "".join(
        f'<path class="edge class-{boxes.labels[i]}" d="{path}"><title>{escape(boxes.caption(i))}</title></path>'
        for i, path in paths.items()
    )


def _path(lines: Array, visible: NDArray[np.bool_]) -> str:
    """The visible ones of (..., 2, 2) segments, as path data."""
    return "".join(f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" for (x0, y0), (x1, y1) in lines[visible].tolist())
