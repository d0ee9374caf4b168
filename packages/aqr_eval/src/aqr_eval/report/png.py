"""The charts of a report as PNG files: for slides and papers, where no page can be shown."""

from __future__ import annotations

from pathlib import Path

from aqr_eval.report.figures import Figure
from aqr_eval.report.raster import Raster, text_width
from aqr_eval.report.raster_panels import INK, Style, draw_panel, panel_height
from aqr_eval.whole_files import replacing

_MARGIN, _GAP, _TITLE, _KEY = 18.0, 16.0, 26.0, 20.0
_LARGE, _SMALL = (3, 320.0), (5, 176.0)  # panels to a line, and the width of each, points


def save_png(figure: Figure, heading: str, folder: Path) -> Path:
    """Writes `<folder>/<name>.png`, white; `heading` and the figure's own title stand above it."""
    most, width = _LARGE if figure.large else _SMALL
    columns = min(most, len(figure.panels))
    lines = [figure.panels[start : start + columns] for start in range(0, len(figure.panels), columns)]
    heights = [max(map(panel_height, line)) for line in lines]
    title = f"{heading}: {figure.title}" if figure.title else heading
    across = columns * width + (columns - 1) * _GAP
    keys = _break_key(figure, across)
    sheet = Raster(
        max(across, text_width(title, 12)) + 2 * _MARGIN,
        _TITLE + sum(heights) + (len(heights) - 1) * _GAP + _KEY * len(keys) + 2 * _MARGIN,
    )
    sheet.text((_MARGIN, _MARGIN + 12), title, 12, INK, bold=True)
    top = _MARGIN + _TITLE
    for line, height in zip(lines, heights, strict=True):
        for column, panel in enumerate(line):
            draw_panel(sheet, panel, (_MARGIN + column * (width + _GAP), top), width, first=column == 0)
        top += height + _GAP
    for entries in keys:
        at = _MARGIN
        for css, text in entries:
            style = Style.of(css)
            stroke = [(at, top - 3), (at + 16, top - 3)]
            sheet.line(stroke, style.color, 2.2, opacity=style.opacity, dash=style.dash)
            sheet.text((at + 21, top), text, 8.5, INK)
            at += _key_width(text)
        top += _KEY
    path = folder / f"{figure.name}.png"
    with replacing(path) as temporary:
        sheet.save(temporary)
    return path


def _break_key(figure: Figure, across: float) -> list[list[tuple[str, str]]]:
    """The key in lines that fit."""
    lines: list[list[tuple[str, str]]] = []
    left = 0.0
    for css, text in figure.key:
        if not lines or left < _key_width(text):
            lines.append([])
            left = across
        lines[-1].append((css, text))
        left -= _key_width(text)
    return lines


def _key_width(text: str) -> float:
    return 21 + text_width(text, 8.5) + 18
