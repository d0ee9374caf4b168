"""`model`: names and nesting are upstream's, so most of it stays; what is left to upstream's defaults is added."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import aqr_core.models  # noqa: F401 - registers the parts
from aqr_core.errors import ConfigError
from aqr_core.registry import MODELS
from aqr_train.config_conversion.aqr_blocks import AQR_FIELDS, convert_aqr
from aqr_train.config_conversion.fields import Fields, dotted
from aqr_train.config_conversion.upstream import DEAD_TEST, DEAD_TRAIN, RULES, PartRules

HEADS = ("CmtHead", "CmtLidarHead", "CmtImageHead")
_OLD_AQR_HEAD = "CmtAQRHead"
_MOME = ("MoME", "MEFormerDetector", "MOAD")


def convert_model(model: Fields, where: str) -> dict[str, Any]:
    """The `model` section.

    Args:
        model: of the source.
        where: the source, for messages.

    Raises:
        ConfigError: another detector, or a part that we do not have.
    """
    _check_detector(model, where)
    out: dict[str, Any] = {"type": model.keep("type")}
    stages = {name: model.child(name).child("pts") for name in ("train_cfg", "test_cfg") if name in model}
    for name in model:
        if name in ("type", *stages):
            continue
        if name == "pts_voxel_layer":
            out[name] = _convert_arguments(model.child(name), "HardVoxelize")
        elif name == "pts_bbox_head":
            head = model.child(name)
            out[name] = {**convert_part(head, handled=AQR_FIELDS), **convert_aqr(head)}
        elif isinstance(model.get(name), Mapping) and name in _parts_of_detector():
            out[name] = convert_part(model.child(name))
        else:
            _convert_argument(model, name, "CmtDetector", out)
    grid = None
    if "train_cfg" in stages:
        points = _convert_train_stage(stages["train_cfg"])
        grid = points.get("grid_size")
        if points:
            out["train_cfg"] = {"pts": points}
    if "test_cfg" in stages:
        grid_of_test = _convert_test_stage(stages["test_cfg"], grid)
        if grid_of_test:
            out["test_cfg"] = {"pts": grid_of_test}
    return out


def convert_part(part: Fields, handled: Collection[str] = ()) -> dict[str, Any]:
    """One dict with a `type`, and the parts inside it.

    Args:
        part: of the source.
        handled: fields that the caller accounts for.

    Raises:
        ConfigError: a type that we do not have.
    """
    kind = part.get("type")
    if kind == _OLD_AQR_HEAD:
        kind = "CmtHead"
        part.derive("type", "CmtHead", "the blocks switch AQR on")
    where = dotted(part.path)
    if not isinstance(kind, str):
        raise ConfigError(f"'{where}' of the source has no type; add it.")
    if MODELS.get(kind) is None:
        raise ConfigError(
            f"{where}.type of the source is '{kind}', which is no part of ours; if it is one of mmdet or mmdet3d, "
            f"write 'mmdet.{kind}' or 'mmdet3d.{kind}' into the source (needs `make mmdet3d`), else choose another."
        )
    if part.get("type") == kind:
        part.keep("type")
    return {"type": kind, **_convert_arguments(part, kind, handled)}


def _convert_arguments(part: Fields, kind: str, handled: Collection[str] = ()) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in part:
        if name != "type" and name not in handled:
            _convert_argument(part, name, kind, out)
    for name, (value, why) in RULES.get(kind, PartRules()).silent.items():
        if name not in part:
            out[name] = part.add(name, value, why)
    return out


def _convert_argument(part: Fields, name: str, kind: str, out: dict[str, Any]) -> None:
    """Put one argument into `out`, or account for leaving it out; unknown ones are left to the ledger's end."""
    rules = RULES.get(kind, PartRules())
    value = part.get(name)
    if name in rules.dead:
        part.drop(name, rules.dead[name])
    elif name in rules.fixed:
        only, why = rules.fixed[name]
        part.fixed(name, only, why=why)
    elif not _takes(kind, name):
        return
    elif name == "tasks":
        out[name] = [_convert_task(task) for task in part.children(name)]
    elif _is_part(value):
        out[name] = convert_part(part.child(name))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        out[name] = [convert_part(item) for item in part.children(name)]
    else:
        out[name] = part.keep(name)


def _convert_task(task: Fields) -> dict[str, Any]:
    out = {name: task.keep(name) for name in ("num_class", "class_names") if name in task}
    if "num_class" not in out and "class_names" in out:  # upstream counts the names
        out["num_class"] = task.add("num_class", len(out["class_names"]), "upstream counts the names")
    return out


def _convert_train_stage(points: Fields) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("code_weights", "grid_size"):
        if name in points:
            out[name] = points.keep(name)
    if "assigner" in points:
        out["assigner"] = convert_part(points.child("assigner"))
    for name in DEAD_TRAIN:
        points.drop(name, "CMT does not read it")
    return out


def _convert_test_stage(points: Fields, grid: Any) -> dict[str, Any]:  # noqa: ANN401
    for name in DEAD_TEST:
        points.drop(name, "CMT does not read it: bbox_coder decides, and nothing is suppressed")
    if grid is None and "grid_size" in points:
        return {"grid_size": points.keep("grid_size")}
    points.fixed("grid_size", grid, why="the grid of train_cfg holds")
    return {}


def _check_detector(model: Fields, where: str) -> None:
    kind = model.get("type")
    if kind in _MOME:
        raise ConfigError(
            f"{where} is a config of MoME (model.type '{kind}'), and only CMT's are converted; start from the shipped "
            "moad_voxel0075_vov_1600x640_cbgs or mome_voxel0075_vov_1600x640_cbgs, which take its weights."
        )
    if kind != "CmtDetector":
        raise ConfigError(
            f"{where} is a config of another detector (model.type {kind!r}), and only those of CmtDetector are "
            "converted; single parts of mmdet3d can be named in our configs as type='mmdet3d.NAME'."
        )
    head = model.get("pts_bbox_head")
    kind = head.get("type") if isinstance(head, Mapping) else None
    if kind not in (*HEADS, _OLD_AQR_HEAD):
        raise ConfigError(
            f"{where} has model.pts_bbox_head of type {kind!r}, and only {', '.join(HEADS)} are converted; name one of "
            "them."
        )


def _parts_of_detector() -> set[str]:
    return {name for name in _parameters("CmtDetector") if name.startswith(("img_", "pts_"))}


def _is_part(value: Any) -> bool:  # noqa: ANN401
    """Whether it is built of its `type`; norm_cfg and act_cfg only look like it."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    return isinstance(kind, str) and MODELS.get(kind) is not None


def _takes(kind: str, name: str) -> bool:
    parameters = _parameters(kind)
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


@cache
def _parameters(kind: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(MODELS.get(kind)).parameters
