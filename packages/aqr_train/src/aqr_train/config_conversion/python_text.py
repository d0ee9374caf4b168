"""A config as Python text a person would have written: `type` first, short dicts on one line, shared values named."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping
from typing import Any

from aqr_train.config_conversion.fields import same

WIDTH = 118


def assignment(name: str, value: Any, names: Mapping[str, Any] | None = None) -> str:  # noqa: ANN401
    """`name = value`.

    Args:
        name: a variable.
        value: dicts, lists, tuples and scalars.
        names: variables that stand for a list or dict, wherever it occurs.
    """
    return f"{name} = {_text(value, names or {}, '', len(name) + 3)}"


def _text(value: Any, names: Mapping[str, Any], indent: str, used: int) -> str:  # noqa: ANN401
    """The value, broken over lines where it does not fit behind `used` characters."""
    line = _line(value, names)
    if len(indent) + used + len(line) <= WIDTH or not isinstance(value, Mapping | list | tuple):
        return line
    inner = indent + "    "
    if isinstance(value, Mapping):
        opening, closing = ("dict(", ")") if _is_keywords(value) else ("{", "}")
        items = []
        for key, item in _ordered(value):
            start = f"{key}=" if opening == "dict(" else f"{_line(key, {})}: "
            items.append(start + _text(item, names, inner, len(start) + 1))
    else:
        opening, closing = "[]" if isinstance(value, list) else "()"
        items = [_text(item, names, inner, 1) for item in value]
    return opening + "".join(f"\n{inner}{item}," for item in items) + f"\n{indent}{closing}"


def _line(value: Any, names: Mapping[str, Any]) -> str:  # noqa: ANN401
    if isinstance(value, Mapping | list | tuple):
        for name, shared in names.items():
            if same(value, shared):
                return name
    if isinstance(value, Mapping):
        if _is_keywords(value):
            return f"dict({', '.join(f'{key}={_line(item, names)}' for key, item in _ordered(value))})"
        return "{" + ", ".join(f"{_line(key, {})}: {_line(item, names)}" for key, item in _ordered(value)) + "}"
    if isinstance(value, list | tuple):
        text = ", ".join(_line(item, names) for item in value)
        if isinstance(value, list):
            return f"[{text}]"
        return f"({text},)" if len(value) == 1 else f"({text})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _is_keywords(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value)


def _ordered(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return sorted(value.items(), key=lambda item: item[0] != "type")
