"""The analysis on the screen, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aqr_train.routing.analysis import WORKING, Analysis, Condition
from aqr_train.routing.statistics import GroupStatistics

_TITLES = {
    "class": "Class",
    "distance": "Distance to ego",
    "cameras": "Cameras that see it",
    "light": "Light",
    "weather": "Weather",
}


def show(analysis: Analysis, console: Console) -> None:
    """Print everything."""
    variant, working = analysis.variant, analysis.conditions[WORKING]
    low, high = variant.bounds
    scale = "" if variant.scale is None else f", bias scale {variant.scale:.3f} of at most {variant.max_scale:g}"
    console.print(
        f"[bold]AQR {variant.name}[/], weights in {low:g} to {high:g}, neutral {variant.neutral:g}{scale}.",
        highlight=False,
    )
    console.print(Text(f"{analysis.checkpoint} on {analysis.infos}"), soft_wrap=True)
    console.print(f"Keyframes: {working.keyframes}. Annotated boxes: {working.annotated}.", highlight=False)
    console.print(Text(f"Counted: {analysis.rule}."))
    console.print(
        "Prefer LiDAR: queries whose LiDAR weight is the larger. Attend LiDAR: share of the cross-attention on LiDAR "
        f"tokens, mean over layers and heads. Groups of queries: with {WORKING}.",
        highlight=False,
    )
    for table in tables(analysis):
        console.print(table)
    for grouping in ("light", "weather"):
        if set(working.groups[grouping]) == {"unknown"}:
            console.print(f"{_TITLES[grouping]}: unknown, the dataset's tables do not say.", highlight=False)
    for line in analysis.warnings:
        console.print(Text(f"warning: {line}", style="yellow"))
    if not analysis.warnings:
        console.print("No warnings.", highlight=False)


def tables(analysis: Analysis) -> Iterator[Table]:
    """Runs, groups with all sensors, groups under failures, attention per layer."""
    conditions = analysis.conditions
    working = conditions[WORKING]
    yield _weights_table("Run", _overall(conditions))
    for grouping, groups in working.groups.items():
        if groups and set(groups) != {"unknown"}:
            yield _weights_table(_TITLES[grouping], groups.items())
    if len(conditions) > 1:
        yield _failure_table(conditions)
    yield _layer_table(conditions)
    if working.at_clamp:
        yield _clamp_table(conditions)


def _overall(conditions: Mapping[str, Condition]) -> list[tuple[str, GroupStatistics | None]]:
    rows: list[tuple[str, GroupStatistics | None]] = []
    for name, condition in conditions.items():
        rows += [(name, condition.counted), ("  all queries", condition.every)]
    return rows


def _weights_table(title: str, groups: Iterable[tuple[str, GroupStatistics | None]]) -> Table:
    table = _table(title, "queries", "LiDAR\nweight", "camera\nweight", "prefer\nLiDAR", "attend\nLiDAR")
    for name, group in groups:
        if group is None:
            table.add_row(name, "0", "-", "-", "-", "-")
            continue
        weights = (f"{weight.mean:.3f} ± {weight.std:.3f}" for weight in (group.lidar, group.camera))
        shares = (_percent(group.prefer_lidar), _percent(_mean_mass(group)))
        table.add_row(name, str(group.queries), *weights, *shares)
    return table


def _failure_table(conditions: Mapping[str, Condition]) -> Table:
    """Both mean weights and the attention on LiDAR of every class, one column per run."""
    table = _table("Class", *(f"{name}\nLiDAR   cam  att." for name in conditions))
    table.title = Text("Mean weights and attention on LiDAR, per run")
    labels = dict.fromkeys(label for condition in conditions.values() for label in condition.groups["class"])
    for label in labels:
        groups = (condition.groups["class"].get(label) for condition in conditions.values())
        table.add_row(label, *("-" if group is None else _short(group) for group in groups))
    return table


def _short(group: GroupStatistics) -> str:
    return f"{group.lidar.mean:5.2f} {group.camera.mean:5.2f} {_mean_mass(group):5.0%}"


def _layer_table(conditions: Mapping[str, Condition]) -> Table:
    layers = len(conditions[WORKING].every.lidar_mass)
    table = _table("Attention on LiDAR tokens, layer", *(str(layer) for layer in range(1, layers + 1)))
    for name, group in _overall(conditions):
        table.add_row(name, *(["-"] * layers if group is None else map(_percent, group.lidar_mass)))
    table.add_section()
    for head, shares in enumerate(zip(*conditions[WORKING].head_mass, strict=True), start=1):
        table.add_row(f"head {head} ({WORKING}, all queries)", *map(_percent, shares))
    return table


def _clamp_table(conditions: Mapping[str, Condition]) -> Table:
    maps = list(conditions[WORKING].at_clamp)
    table = _table("Cells at the clamp", *(f"{name} map" for name in maps))
    for name, condition in conditions.items():
        table.add_row(name, *(_percent(condition.at_clamp[part]) for part in maps))
    return table


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=True)
    return table


def _mean_mass(group: GroupStatistics) -> float:
    return sum(group.lidar_mass) / len(group.lidar_mass)


def _percent(share: float) -> str:
    return f"{share:.0%}"
