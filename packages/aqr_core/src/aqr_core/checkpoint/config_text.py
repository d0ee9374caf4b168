"""The model section of a config that lies in or beside a checkpoint, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from aqr_core.models.geometry import BevGeometry


def geometry_in(text: str) -> BevGeometry | None:
    """The geometry of a resolved config (mmcv's, mmengine's or ours), or None where the text does not tell it."""
    try:
        return BevGeometry.from_config(_model_section(text))
    except (AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError):
        return None  # no Python, or a model of another kind


def _model_section(text: str) -> Mapping[str, Any]:
    """What `model = ...` assigns; whatever is no literal and no `dict(...)` in it reads as None."""
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="model")], value=value):
                return _literal(value)
    raise LookupError("no model section")


def _literal(node: ast.expr) -> Any:  # noqa: ANN401 - a config holds any value
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return {word.arg: _literal(word.value) for word in keywords if word.arg is not None}
        case ast.Dict(keys=keys, values=values):
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
