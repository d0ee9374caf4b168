"""Small words at the boxes of a camera image: scores, and what is wrong; none covers another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aqr_eval.report.boxes import DrawnBoxes

Array = NDArray[np.float64]
Extent = tuple[float, float, float, float]  # left, top, right, bottom

_SMALLEST_LABELLED = 14.0  # boxes lower than this many units carry no tag: it would cover them
_HEIGHT, _PER_LETTER, _MARGIN = 17, 8.6, 8


def extents(lines: Array, visible: NDArray[np.bool_]) -> dict[int, Extent]:
    """Box number -> its visible extent, from (N, 12, 2, 2) segments; boxes out of sight are left out."""
    found = {}
    for i in np.flatnonzero(visible.any(axis=1)).tolist():
        points = lines[i][visible[i]].reshape(-1, 2)
        found[i] = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    return found


class Tags:
    """Finds room for the tags of one layer; who asks first is served first.

    Args:
        width: of the drawing, user units.
        height: of the drawing.
    """

    def __init__(self, width: float, height: float) -> None:
        self._width, self._height = width, height
        self._taken: list[tuple[float, float, float]] = []

    def missed(self, boxes: Mapping[int, Extent]) -> str:
        """The word "missed" at true boxes."""
        return "".join(self._tag(extent, "missed", "<tspan>missed</tspan>", "lost") for extent in boxes.values())

    def scores(self, boxes: DrawnBoxes, false_positive: NDArray[np.bool_], seen: Mapping[int, Extent]) -> str:
        """The scores of predictions, the best first; a false positive's behind a cross."""
        assert boxes.scores is not None, "true boxes have no scores"
        parts = []
        for i in np.argsort(-boxes.scores, kind="stable").tolist():
            if i in seen:
                score = f"{boxes.scores[i]:.2f}".removeprefix("0")
                wrong = bool(false_positive[i])
                content = f'<tspan class="mistake">✕\u2009</tspan>{score}' if wrong else score
                css = f"class-{boxes.labels[i]}" + " wrong" * wrong
                parts.append(self._tag(seen[i], score + "✕ " * wrong, content, css))
        return "".join(parts)

    def _tag(self, extent: Extent, text: str, content: str, css: str) -> str:
        """A tag above the extent, or below it, or nothing where there is no room; `text` gives its width."""
        left, top, right, bottom = extent
        if bottom - top < _SMALLEST_LABELLED:
            return ""
        width = _PER_LETTER * len(text) + _MARGIN
        x = float(np.clip((left + right) / 2, width / 2, self._width - width / 2))
        for y in (top - _HEIGHT - 3, bottom + 3):
            free = all(abs(x - u) > (width + other) / 2 or abs(y - v) > _HEIGHT for u, v, other in self._taken)
            if free and 0 <= y <= self._height - _HEIGHT:
                self._taken.append((x, y, width))
                return (
                    f'<g class="tag {css}"><rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
                    f'height="{_HEIGHT}"/><text x="{x:.1f}" y="{y + _HEIGHT - 4:.1f}">{content}</text></g>'
                )
        return ""
