"""A comparison on the screen, within 80 columns, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from aqr_eval.analysis.bootstrap import COVERAGE
from aqr_eval.compare.comparison import DIGITS, SUMMARY, Comparison, Score
from aqr_eval.compare.interval_tables import HEAD, HEADLINES, interval_rows
from aqr_eval.markdown import markdown_table
from aqr_eval.score_table import plain_table, signed

_CONDITIONS_PER_TABLE = 3  # what 80 columns hold


def score_tables(comparison: Comparison) -> Iterator[Table]:
    """NDS and mAP of each model, three conditions per table, differences to the first model below the numbers."""
    for start in range(0, len(comparison.conditions), _CONDITIONS_PER_TABLE):
        conditions = comparison.conditions[start : start + _CONDITIONS_PER_TABLE]
        names = " ".join(f"{name:>7} " for name in SUMMARY)
        table = plain_table("\nModel", *(f"{condition:^{len(names)}}\n{names}" for condition in conditions))
        columns = {condition: _columns(comparison, condition) for condition in conditions}
        for model in comparison.models:
            groups = ([column[model] for column in columns[condition]] for condition in conditions)
            table.add_row(Text(model), *map(_group, groups))
        yield table


def class_table(comparison: Comparison, condition: str) -> Table:
    """Average precision per class, models as columns, and how many true boxes count."""
    table = plain_table("Class", *comparison.models, "true")
    table.title = Text(f"AP per class, {condition}")
    for name, true_boxes, scores in _class_rows(comparison, condition):
        table.add_row(name, *map(_value, scores), str(true_boxes))
    return table


def to_markdown(comparison: Comparison, condition: str, lines: Sequence[str]) -> str:
    """`lines`, the table of scores and the table per class under one condition; the best of a column in bold."""
    columns = {
        f"{condition} {name}": column
        for condition in comparison.conditions
        for name, column in zip(SUMMARY, _columns(comparison, condition), strict=True)
    }
    scores = [
        [model, *(_markdown(column[model]) + _bracket(column[model]) for column in columns.values())]
        for model in comparison.models
    ]
    classes = [
        [name, *map(_markdown, scores), str(true_boxes)]
        for name, true_boxes, scores in _class_rows(comparison, condition)
    ]
    parts = [
        *lines,
        markdown_table(["model", *columns], scores),
        f"AP per class, {condition}:",
        markdown_table(["class", *comparison.models, "true boxes"], classes),
    ]
    for drawn_under in comparison.resampled:
        quantities = (*HEADLINES, *(name for name, *_ in classes if drawn_under == condition))
        rows = [[title, *cells] for title, of in interval_rows(comparison, drawn_under, quantities) for cells in of]
        parts += [f"{COVERAGE:.0%} intervals, {drawn_under}:", markdown_table(HEAD, rows)]
    return "\n\n".join(parts) + "\n"


def _columns(comparison: Comparison, condition: str) -> list[dict[str, Score]]:
    return [comparison.column(condition, quantity) for quantity in SUMMARY]


def _class_rows(comparison: Comparison, condition: str) -> Iterator[tuple[str, int, list[Score]]]:
    """Class, its true boxes, and its AP for every model."""
    first = comparison.metrics[condition][comparison.models[0]]
    for name in first.config.class_names:
        true_boxes = first.curves[name, first.config.dist_th_tp].num_gt
        yield name, true_boxes, list(comparison.column(condition, name).values())


def _group(scores: Sequence[Score]) -> Text:
    """The numbers of a condition and, below, their differences; the decimal points stand in line."""
    lines = [Text(" ").join(Text(" ") + _value(score) for score in scores)]
    differences = [signed(score.difference, DIGITS) for score in scores if score.difference is not None]
    if differences:
        lines.append(Text("  ".join(differences), style="dim"))
    return _left(Text("\n").join(lines))


def _value(score: Score) -> Text:
    mark, style = ("*", "bold") if score.best else (" ", "")
    return _left(Text(f"{score.value:.{DIGITS}f}{mark}", style=style))


def _left(text: Text) -> Text:
    text.justify = "left"  # to the right, rich would drop the blanks at the end that keep the digits in line
    return text


def _markdown(score: Score) -> str:
    value = f"{score.value:.{DIGITS}f}"
    return f"**{value}**" if score.best else value


def _bracket(score: Score) -> str:
    return "" if score.difference is None else f" ({signed(score.difference, DIGITS)})"
