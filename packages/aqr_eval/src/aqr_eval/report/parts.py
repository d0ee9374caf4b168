"""A part of the report: what it says, its charts and its tables, whichever document it lands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from aqr_eval.report.figures import Figure
from aqr_eval.report.plain_tables import PlainTable


@dataclass(frozen=True, slots=True)
class Part:
    """One heading of the report.

    Attributes:
        heading: '' for what stands before the first heading.
        lead: a sentence or two, plain text.
        figures: drawn on the page and into PNG files.
        tables: in the Markdown document; on the page they lie folded below the figures.
        html: what the page shows instead of the tables, where it has something better; finished HTML.
    """

    heading: str
    lead: str
    figures: Sequence[Figure] = ()
    tables: Sequence[PlainTable] = ()
    html: str = ""

    def to_html(self) -> str:
        """Everything below the heading and the lead."""
        figures = "".join(figure.to_html() for figure in self.figures)
        if self.html or not self.tables:
            return figures + self.html
        tables = "".join(table.to_html() for table in self.tables)
        return f"{figures}<details><summary>{escape(self.heading)} in numbers</summary>{tables}</details>"

    def to_markdown(self) -> str:
        """Heading, lead and tables; '' without tables: a document of text has no pictures."""
        if not self.tables:
            return ""
        heading = [f"## {self.heading}"] if self.heading else []
        return "\n\n".join([*heading, self.lead, *(table.to_markdown() for table in self.tables)]).strip()


def to_markdown(title: str, facts: Sequence[str], parts: Sequence[Part]) -> str:
    """The numbers of a report as a Markdown document that GitHub shows well."""
    texts = [f"# {title}", " · ".join(facts), *(text for part in parts if (text := part.to_markdown()))]
    return "\n\n".join(texts) + "\n"
