"""The page itself: sections in order, the style sheet inlined, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from aqr_eval.report.colors import css_variables
from aqr_eval.report.parts import Part


@dataclass(frozen=True, slots=True)
class FrameGroup:
    """A heading, a plain-text sentence and the finished HTML of some frames."""

    heading: str
    lead: str
    blocks: Sequence[str]


_KINDS = {"predicted": "predicted, solid", "true": "true, dashed", "mistake": "mistakes marked"}  # layer -> its switch


def assemble(title: str, facts: Sequence[str], parts: Sequence[Part], submissions: Sequence[str]) -> str:
    """The complete HTML document.

    Args:
        title: heading of the page, plain text.
        facts: short plain-text phrases below it.
        parts: in order; an empty heading puts the body straight below the facts.
        submissions: names in order, for the rules that show one submission's layer at a time.
    """
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    body = "".join(map(_section, parts))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css_variables()}\n{style}{_layer_rules(len(submissions))}</style></head>"
        f"<body><header><h1>{escape(title)}</h1><p>{' · '.join(escape(fact) for fact in facts)}</p></header>"
        f"{_contents(parts)}"
        f"<main>{body}</main></body></html>\n"
    )


def scene_viewer(groups: Sequence[FrameGroup], submissions: Sequence[str], shown_first: int) -> str:
    """Groups of frames under a bar that switches layers; works without scripts.

    The inputs come first, so that the sibling rules of the style sheet reach the blocks after them.
    """
    layers = [
        f'<input class="switch" type="radio" name="layer" id="show-{i}"{" checked" * (i == shown_first)}>'
        for i in range(len(submissions))
    ]
    kinds = "".join(f'<input class="switch" type="checkbox" id="show-{kind}" checked>' for kind in _KINDS)
    choices = "".join(f'<label for="show-{i}">{escape(name)}</label>' for i, name in enumerate(submissions))
    which = f"<div><span>Predictions of</span>{choices}</div>" if len(submissions) > 1 else ""
    switches = "".join(f'<label for="show-{kind}">{text}</label>' for kind, text in _KINDS.items())
    bar = f'<div class="toolbar">{which}<div><span>Boxes</span>{switches}</div></div>'
    blocks = "".join(
        f'<h3 class="group" id="{slug(group.heading)}">{escape(group.heading)}</h3><p>{escape(group.lead)}</p>'
        + "".join(group.blocks)
        for group in groups
    )
    return f'<div class="viewer">{"".join(layers)}{kinds}{bar}<div class="samples">{blocks}</div></div>'


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in heading.lower()).split())


def _contents(parts: Sequence[Part]) -> str:
    """Links to the sections, where there are several."""
    links = [f'<a href="#{slug(one.heading)}">{escape(one.heading)}</a>' for one in parts if one.heading]
    return f'<nav aria-label="Sections">{"".join(links)}</nav>' if len(links) > 1 else ""


def _section(part: Part) -> str:
    heading = f'<h2 id="{slug(part.heading)}">{escape(part.heading)}</h2>' if part.heading else ""
    lead = f"<p>{escape(part.lead)}</p>" if part.lead else ""
    return f"<section>{heading}{lead}{part.to_html()}</section>"


def _layer_rules(count: int) -> str:
    """Each switch hides the layers of the others and highlights its own label."""
    rules = [f".class-{k}{{color:var(--class-{k})}}" for k in range(10)]
    rules += [f".submission-{i}{{color:var(--submission-{i})}}" for i in range(count)]
    rules += [f"#show-{i}:not(:checked)~.samples .of-{i}{{display:none}}" for i in range(count)]
    rules += [f"#show-{kind}:not(:checked)~.samples figure .{kind}{{display:none}}" for kind in _KINDS]
    # A score that is hidden as a mistake is still a score.
    rules.append("#show-mistake:not(:checked)~.samples .tag.wrong rect{fill:var(--tag)}")
    on = ",".join(f"#show-{key}:checked~.toolbar [for=show-{key}]" for key in (*range(count), *_KINDS))
    focus = on.replace(":checked", ":focus-visible")
    rules.append(f"{on}{{background:var(--soft);color:var(--ink);border-color:var(--muted)}}")
    rules.append(f"{focus}{{outline:2px solid var(--accent)}}")
    return "\n".join(rules)
