"""In a few words, what a failure did to a keyframe on average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def describe(removed: Mapping[str, float]) -> str:
    """The account of a cell, such as '87 % of points lost, 12 % of images stuck'.

    Args:
        removed: as `CellResult.removed`: '<failure>/<what>' -> mean over the keyframes.
    """
    failures: dict[str, dict[str, float]] = {}
    for key, number in removed.items():
        failure, _, what = key.partition("/")
        failures.setdefault(failure, {})[what] = number
    return ", ".join(dict.fromkeys(words for numbers in failures.values() for words in _words(numbers)))


def _words(of: Mapping[str, float]) -> Iterator[str]:
    """Of one failure. Keyframes that it spared report nothing, so that shares of points are of those it struck."""
    if "dropped" in of:
        yield "sensor lost" if of["dropped"] == 1 else f"sensor lost in {of['dropped']:.0%} of keyframes"
    if "frames" in of:
        yield f"{of['frames']:.0%} of keyframes struck"
    if of.get("points"):
        lost = 1 - of["points_kept"] / of["points"]
        if lost or not of.get("points_moved"):
            yield f"{_share(lost)} of points lost"
        if of.get("points_moved"):
            yield f"{_share(of['points_moved'] / of['points'])} of points moved"
    if of.get("images"):
        if "images_lost" in of:
            yield f"{_share(of['images_lost'] / of['images'])} of images lost"
        if "stuck" in of:
            yield f"{_share(of['stuck'] / of['images'])} of images stuck"
    elif "stuck" in of:
        yield f"LiDAR stuck in {_share(of['stuck'])} of keyframes"
    if "mean_change" in of:
        yield f"images changed by {of['mean_change']:.0f} of 255"
    if "mean_angle_deg" in of:
        yield f"cameras turned by {of['mean_angle_deg']:.1f} deg"


def _share(share: float) -> str:
    """Per cent; a loss that is there never reads as none."""
    return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"
