"""Which panels the curves of a run have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aqr_eval.report.scalars import Series

_LAYER = re.compile(r"train/(.+)/layer(\d+)")
_TERMS = {
    "loss_cls": "class loss",
    "loss_bbox": "box loss",
    "dn_loss_cls": "class loss, denoising",
    "dn_loss_bbox": "box loss, denoising",
    "loss_aqr": "loss of the AQR weights",
}


@dataclass(frozen=True)
class Panel:
    """What is drawn in one pair of axes.

    Attributes:
        title: with the unit.
        members: label -> name of the scalar.
        noisy: drawn with a smoothed line.
        log: logarithmic axis.
        from_zero: the axis holds 0.
        factor: from the scalar to the unit of the title.
    """

    title: str
    members: Mapping[str, str]
    noisy: bool = False
    log: bool = False
    from_zero: bool = False
    factor: float = 1.0


def find_panels(logs: Mapping[str, Mapping[str, Series]]) -> list[Panel]:
    """The panels for what any of the runs has logged, in the order in which one reads them."""
    names = list(dict.fromkeys(name for log in logs.values() for name in log))
    panels = [
        Panel("loss", _one("train/loss"), noisy=True),
        *_terms(names, inner_layers=len(logs) == 1),
        Panel("learning rate", _rates(*logs.values()) if len(logs) == 1 else _one("lr"), log=True),
        Panel("gradient norm before clipping", _one("train/grad_norm"), noisy=True),
        Panel("loss scale (fp16)", _one("fp16/loss_scale"), log=True),
        Panel("updates skipped (fp16)", _one("fp16/skipped"), from_zero=True),
        Panel("validation mAP", _one("val/mAP"), from_zero=True),
        Panel("validation NDS", _one("val/NDS"), from_zero=True),
        Panel("AQR bias scale", _one("aqr/bias_scale")),
        Panel("AQR weight, mean", {"LiDAR": "aqr/weight_lidar_mean", "camera": "aqr/weight_camera_mean"}, noisy=True),
        Panel("AQR weight, spread", {"LiDAR": "aqr/weight_lidar_std", "camera": "aqr/weight_camera_std"}, noisy=True),
        Panel(
            "queries that prefer a sensor, %",
            {"LiDAR": "aqr/prefer_lidar", "camera": "aqr/prefer_camera"},
            noisy=True,
            from_zero=True,
            factor=100,
        ),
        Panel("AQR map, mean", {"BEV": "aqr/map_bev_mean", "image": "aqr/map_image_mean"}, noisy=True),
        Panel("queries by expert, %", _below("aqr/route_", names), noisy=True, from_zero=True, factor=100),
        Panel("samples per second", _one("time/samples_per_s"), noisy=True, from_zero=True),
        Panel("waiting for data, % of a step", _one("time/data_share"), noisy=True, from_zero=True, factor=100),
        Panel("peak memory, GiB", {"GPU": "memory/peak_gib", "process": "memory/rss_gib"}, from_zero=True),
    ]
    present = []
    for panel in panels:
        members = {label: name for label, name in panel.members.items() if name in names}
        if members:
            present.append(replace(panel, members=members))
    return present


def _terms(names: Sequence[str], inner_layers: bool) -> list[Panel]:
    """One panel for each term of the loss: of the last decoder layer, and of the others too where asked."""
    layers: dict[str, dict[str, str]] = {}
    for name in names:
        term, inner = name.removeprefix("train/"), _LAYER.fullmatch(name)
        if inner and inner_layers:
            layers.setdefault(inner[1], {})[f"layer {inner[2]}"] = name
        elif name.startswith("train/") and not inner and term not in ("loss", "grad_norm"):
            layers.setdefault(term, {})["last layer"] = name
    order = [*_TERMS, *(term for term in layers if term not in _TERMS)]
    return [Panel(_TERMS.get(term, term), layers[term], noisy=True) for term in order if term in layers]


def _rates(log: Mapping[str, Series]) -> dict[str, str]:
    """Groups whose rates are the same at every step share a line."""
    lines: dict[bytes, list[str]] = {}
    for name, (_, values) in log.items():
        if name.startswith("lr/"):
            lines.setdefault(values.tobytes(), []).append(name)
    groups = sorted(lines.values(), key=lambda same: -log[same[0]][1].max())
    return {_say(same): same[0] for same in groups} or _one("lr")


def _say(names: Sequence[str]) -> str:
    first = names[0].removeprefix("lr/")
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _one(name: str) -> dict[str, str]:
    return {"": name}


def _below(prefix: str, names: Iterable[str]) -> dict[str, str]:
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
