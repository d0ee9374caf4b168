"""The page itself: sections in order, the style sheet inlined, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from aqr_eval.report.colors import css_variables


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, one sentence below it ('' for none), and finished HTML."""

    heading: str
    lead: str
    body: str


def assemble(title: str, facts: Sequence[str], sections: Sequence[Section], submissions: Sequence[str]) -> str:
    """The complete HTML document.

    Args:
        title: heading of the page, plain text.
        facts: short plain-text phrases below it.
        sections: in order; an empty heading puts the body straight below the facts.
        submissions: names in order, for the rules that show one submission's layer at a time.
    """
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    body = "".join(_section(section) for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css_variables()}\n{style}{_layer_rules(len(submissions))}</style></head>"
        f"<body><header><h1>{escape(title)}</h1><p>{' · '.join(escape(fact) for fact in facts)}</p></header>"
        f"<main>{body}</main></body></html>\n"
    )


def scene_viewer(blocks: Sequence[str], submissions: Sequence[str], shown_first: int) -> str:
    """Sample blocks under a bar that switches layers; works without scripts.

    The inputs come first, so that the sibling rules of the style sheet reach the blocks after them.
    """
    layers = [
        f'<input class="switch" type="radio" name="layer" id="show-{i}"{" checked" * (i == shown_first)}>'
        for i in range(len(submissions))
    ]
    kinds = "".join(f'<input class="switch" type="checkbox" id="show-{k}" checked>' for k in ("predicted", "true"))
    choices = "".join(f'<label for="show-{i}">{escape(name)}</label>' for i, name in enumerate(submissions))
    which = f"<span>Predictions of</span>{choices}" if len(submissions) > 1 else ""
    bar = (
        f'<div class="toolbar">{which}<span>Boxes</span><label for="show-predicted">predicted, solid</label>'
        '<label for="show-true">true, dashed</label></div>'
    )
    return f'<div class="viewer">{"".join(layers)}{kinds}{bar}<div class="samples">{"".join(blocks)}</div></div>'


def _section(section: Section) -> str:
    heading = f"<h2>{escape(section.heading)}</h2>" if section.heading else ""
    lead = f"<p>{escape(section.lead)}</p>" if section.lead else ""
    return f"<section>{heading}{lead}{section.body}</section>"


def _layer_rules(count: int) -> str:
    """Each switch hides the layers of the others and highlights its own label."""
    rules = [f".class-{k}{{color:var(--class-{k})}}" for k in range(10)]
    rules += [f".submission-{i}{{color:var(--submission-{i})}}" for i in range(count)]
    rules += [f"#show-{i}:not(:checked)~.samples .of-{i}{{display:none}}" for i in range(count)]
    rules += [f"#show-{kind}:not(:checked)~.samples figure .{kind}{{display:none}}" for kind in ("predicted", "true")]
    on = ",".join(f"#show-{key}:checked~.toolbar [for=show-{key}]" for key in (*range(count), "predicted", "true"))
    focus = on.replace(":checked", ":focus-visible")
    rules.append(f"{on}{{background:var(--soft);color:var(--ink);border-color:var(--muted)}}")
    rules.append(f"{focus}{{outline:2px solid var(--accent)}}")
    return "\n".join(rules)
