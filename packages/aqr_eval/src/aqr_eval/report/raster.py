"""A white sheet to draw charts on, by Pillow; matplotlib would double the size of the installation.

Everything is drawn larger and shrunk, which smooths lines and letters alike. Units are points, 1/72 inch, from the
upper left corner.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

_PIXELS_PER_POINT = 2  # 144 dots per inch
_SMOOTHING = 3
_SCALE = _PIXELS_PER_POINT * _SMOOTHING
_BOLD_STROKE = 0.02  # of the size
_SYSTEM_FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf")
_PLAIN = str.maketrans({"−": "-", "–": "-", "—": "-", "\u202f": " ", "\u00a0": " ", "×": "x"})
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Point = tuple[float, float]


class Raster:
    """A drawing of `width` x `height` points."""

    def __init__(self, width: float, height: float) -> None:
        self._image = Image.new("RGB", (math.ceil(width * _SCALE), math.ceil(height * _SCALE)), "white")
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: Point, text: str, size: float, color: str, *, anchor: str = "ls", bold: bool = False) -> None:
        """Writes one line; `anchor` is Pillow's: l, m, r across, and s (baseline), m, a (top) down."""
        stroke = round(size * _SCALE * _BOLD_STROKE) if bold else 0
        font, shown = _font_for(text, size)
        self._draw.text(_pixels(at), shown, fill=color, font=font, anchor=anchor, stroke_width=stroke)

    def upward_text(self, at: Point, text: str, size: float, color: str) -> None:
        """Writes one line from bottom to top, its middle at `at`."""
        font, shown = _font_for(text, size)
        left, top, right, bottom = (round(side) for side in font.getbbox(shown))
        mask = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
        ImageDraw.Draw(mask).text((-left, -top), shown, fill=255, font=font)
        turned = mask.transpose(Image.Transpose.ROTATE_90)
        x, y = _pixels(at)
        self._image.paste(ImageColor.getrgb(color), (round(x - turned.width / 2), round(y - turned.height / 2)), turned)

    def line(
        self, points: Sequence[Point], color: str, width: float, *, opacity: float = 1.0, dash: Point | None = None
    ) -> None:
        """A polyline, or its dashes: lengths of the drawn and of the left out."""
        for part in [points] if dash is None else _dashes(points, *dash):
            if len(part) > 1:
                fill = _on_white(color, opacity)
                self._draw.line([_pixels(point) for point in part], fill, round(width * _SCALE), joint="curve")

    def rectangle(self, corner: Point, opposite: Point, color: str, *, opacity: float = 1.0) -> None:
        """Filled; the corners in any order."""
        left, right = sorted((corner[0], opposite[0]))
        top, bottom = sorted((corner[1], opposite[1]))
        self._draw.rectangle([_pixels((left, top)), _pixels((right, bottom))], fill=_on_white(color, opacity))

    def dot(self, at: Point, radius: float, color: str, *, opacity: float = 1.0) -> None:
        """A filled circle."""
        box = [_pixels((at[0] - radius, at[1] - radius)), _pixels((at[0] + radius, at[1] + radius))]
        self._draw.ellipse(box, fill=_on_white(color, opacity))

    def save(self, path: Path) -> None:
        """Shrinks and writes a PNG file."""
        self._image.reduce(_SMOOTHING).save(path, "PNG", optimize=True, dpi=(72 * _PIXELS_PER_POINT,) * 2)


def text_width(text: str, size: float) -> float:
    """Points that a line of text takes."""
    font, shown = _font_for(text, size)
    return font.getlength(shown) / _SCALE


def _pixels(point: Point) -> Point:
    return (point[0] * _SCALE, point[1] * _SCALE)


def _on_white(color: str, opacity: float) -> tuple[int, ...]:
    return tuple(round(255 + (channel - 255) * opacity) for channel in ImageColor.getrgb(color)[:3])


def _font_for(text: str, size: float) -> tuple[_Font, str]:
    """Pillow's own font, which looks the same everywhere, unless it lacks a letter that one of the system has."""
    plain = text.translate(_PLAIN)
    if plain.isascii():
        return _own_font(round(size * _SCALE)), plain
    return _system_font(round(size * _SCALE)), text


@lru_cache
def _own_font(pixels: int) -> _Font:
    return ImageFont.load_default(pixels)


@lru_cache
def _system_font(pixels: int) -> _Font:
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, pixels)
        except OSError:
            continue
    return _own_font(pixels)


def _dashes(points: Sequence[Point], drawn: float, gap: float) -> list[list[Point]]:
    """A polyline cut into dashes."""
    parts: list[list[Point]] = [[points[0]]] if points else []
    left, on = drawn, True
    for start, end in itertools.pairwise(points):
        length = math.dist(start, end)
        at = 0.0
        while length - at > left:
            at += left
            share = at / length
            cut = (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
            if on:
                parts[-1].append(cut)
            else:
                parts.append([cut])
            on = not on
            left = drawn if on else gap
        left -= length - at
        if on:
            parts[-1].append(end)
    return parts
