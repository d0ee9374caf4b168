"""Charts as data: what the page draws as SVG and `png` as files, so that both show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from aqr_eval.report.charts import Axis, Line, line_chart
from aqr_eval.report.rows import Row, row_chart


@dataclass(frozen=True, slots=True)
class LinePanel:
    """Curves over two axes, under a heading with a short note at its right ('' for none)."""

    heading: str
    note: str
    lines: Sequence[Line]
    x: Axis
    y: Axis


@dataclass(frozen=True, slots=True)
class RowPanel:
    """Bars, or points with intervals, in named rows over one axis; otherwise as `LinePanel`."""

    heading: str
    note: str
    rows: Sequence[Row]
    x: Axis


Panel = LinePanel | RowPanel


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that belong together.

    Attributes:
        name: of its PNG file, without the ending.
        title: plain text above it on the page, '' for none; a PNG file always says `name`'s words.
        key: (CSS class, text) of the colours, () where one needs no explanation.
        panels: in order.
        large: whether the panels are large, three to a line on a desk; otherwise small multiples, five to a line.
    """

    name: str
    title: str
    key: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    large: bool = False

    def to_html(self) -> str:
        """Heading, key and panels."""
        heading = f"<h3>{escape(self.title)}</h3>" if self.title else ""
        items = "".join(f'<li><i class="stroke {css}"></i>{escape(text)}</li>' for css, text in self.key)
        key = f'<ul class="key">{items}</ul>' if self.key else ""
        css, size = ("grid large", (400, 220)) if self.large else ("grid", (240, 180))
        panels = "".join(_panel(panel, *size) for panel in self.panels)
        return f'{heading}{key}<div class="{css}">{panels}</div>'


def submission_key(names: Sequence[str]) -> list[tuple[str, str]]:
    """The key of the submissions' colours; none for a single one."""
    return [(f"submission-{i}", name) for i, name in enumerate(names)] if len(names) > 1 else []


def _panel(panel: Panel, width: int, height: int) -> str:
    if isinstance(panel, RowPanel):
        chart = row_chart(panel.rows, panel.x, title=panel.heading)
    else:
        chart = line_chart(panel.lines, panel.x, panel.y, title=panel.heading, width=width, height=height)
    note = f"<span>{escape(panel.note)}</span>" if panel.note else ""
    return f"<figure><figcaption>{escape(panel.heading)}{note}</figcaption>{chart}</figure>"
