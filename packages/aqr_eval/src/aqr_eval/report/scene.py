"""One sample of the dataset as a block of the page: six cameras, the bird's-eye view, and a legend that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.tables import Keyframe, NuScenesTables
from aqr_eval.report.bev import bev_svg
from aqr_eval.report.boxes import DrawnBoxes, Layer
from aqr_eval.report.cameras import camera_svg
from aqr_eval.report.colors import HEIGHT_STOPS

# As seen from the driver's seat: what is left stays left in the front row.
CAMERA_LAYOUT = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")


def spread(tokens: Sequence[str], count: int) -> list[str]:
    """`count` of the tokens, or all if there are fewer, from the middles of as many equal parts."""
    count = min(count, len(tokens))
    return [tokens[(2 * i + 1) * len(tokens) // (2 * count)] for i in range(count)]


def find_keyframe(tables: NuScenesTables, token: str) -> Keyframe:
    """The keyframe of a sample token, without sweeps.

    Raises:
        DataError: no such sample.
    """
    if token not in tables.sample_index:
        raise DataError(f"Sample token {token!r} is not in {tables.folder / 'sample.json'}: copy a token from there.")
    scene = tables.scene_names[tables.sample_scene[tables.sample_index[token]]]
    return next(frame for frame in tables.keyframes([scene], max_sweeps=0) if frame.token == token)


def scene_block(
    index: int, frame: Keyframe, dataroot: Path, truth: DrawnBoxes, layers: Mapping[str, Layer], note: str = ""
) -> str:
    """The HTML of one sample.

    Args:
        index: position on the page, used for anchors.
        frame: the sample.
        dataroot: folder that the file names of `frame` are relative to.
        truth: its true boxes.
        layers: submission name -> what it draws here, in the order of the page.
        note: HTML below the heading.

    Raises:
        DataError: an image or the point file is missing or damaged.
    """
    figures = []
    for channel in CAMERA_LAYOUT:
        if channel in frame.cameras:
            camera = frame.cameras[channel]
            anchor = f"sample-{index}-{channel.removeprefix('CAM_').replace('_', '-').lower()}"
            drawing = camera_svg(dataroot / camera.filename, camera, truth, list(layers.values()))
            name = channel.removeprefix("CAM_").replace("_", " ").capitalize()
            figures.append(
                f'<figure id="{anchor}"><a href="#{anchor}" aria-label="Enlarge {name}">{drawing}</a>'
                f"<figcaption>{name}</figcaption>"
                f'<a class="close" href="#sample-{index}" aria-label="Close"></a></figure>'
            )
    bird = bev_svg(dataroot / frame.lidar.filename, frame.lidar, truth, list(layers.values()))
    legend = _counts(truth, layers) + _LEGEND
    return (
        f'<article id="sample-{index}"><h3>{escape(frame.scene_name)} <code>{escape(frame.token)}</code></h3>{note}'
        f'<div class="cameras">{"".join(figures)}</div>'
        f'<div class="bird"><figure>{bird}</figure><div class="legend">{legend}</div></div>'
        "</article>"
    )


def _counts(truth: DrawnBoxes, layers: Mapping[str, Layer]) -> str:
    """Boxes per class in this sample: the colour key and the census in one."""
    shown = (truth, *(layer.predicted for layer in layers.values()))
    columns = [np.bincount(boxes.labels, minlength=len(DETECTION_CLASSES)) for boxes in shown]
    head = "".join(
        f'<th scope="col" class="name" title="{escape(name)}">{escape(name)}</th>' for name in ("true", *layers)
    )
    rows = "".join(
        f'<tr><th scope="row"><i class="swatch class-{k}"></i>{name.replace("_", " ")}</th>'
        + "".join(f"<td>{column[k] or '·'}</td>" for column in columns)
        + "</tr>"
        for k, name in enumerate(DETECTION_CLASSES)
        if any(column[k] for column in columns)
    )
    return f'<table><thead><tr><th scope="col">Boxes shown</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _legend() -> str:
    low, high = HEIGHT_STOPS[0][0], HEIGHT_STOPS[-1][0]
    stops = ", ".join(f"{color} {100 * (level - low) / (high - low):.0f}%" for level, color in HEIGHT_STOPS)
    icon = '<svg viewBox="0 0 44 16" aria-hidden="true">{}</svg>'
    box = '<path class="edge class-0" d="M6 3h26v10h-26zM32 8h7"/>'
    rows = (
        (icon.format(f'<g class="predicted">{box}</g>'), "predicted, with its heading"),
        (icon.format(f'<g class="true">{box}</g>'), "true"),
        (icon.format('<circle class="mark" cx="19" cy="8" r="6.5"/>'), "missed: a true box without prediction"),
        (icon.format('<path class="mark" d="M13 2l12 12m0-12l-12 12"/>'), "false positive"),
        (icon.format('<path class="arrow class-0" d="M4 8h34M31 4l7 4l-7 4"/>'), "velocity: the way of one second"),
    )
    items = "".join(f"<dt>{picture}</dt><dd>{text}</dd>" for picture, text in rows)
    return (
        f'<dl class="bev-key">{items}</dl><div class="ramp" style="background:linear-gradient(90deg, {stops})"></div>'
        f'<div class="ends"><span>{low:g} m</span><span>LiDAR height</span><span>{high:g} m</span></div>'
    )


_LEGEND = _legend()
