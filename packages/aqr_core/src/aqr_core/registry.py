"""Registries of everything a config can name; the only importer of mmengine's `Registry`.

`build(cfg, MODELS)` turns `dict(type='SECOND', ...)` into an object. An unknown type or argument is a
`ConfigError` that names the nearest match, so a typo never silently becomes a default.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import Registry

from aqr_core.errors import ConfigError

MODELS = Registry("model", scope="aqr", locations=["aqr_core.models"])
TRANSFORMS = Registry("transform", scope="aqr", locations=["aqr_core.data"])
DATASETS = Registry("dataset", scope="aqr", locations=["aqr_core.data"])
SCALARS = ("bool", "int", "float")  # annotations, as text, of arguments that are one number


def suggest(name: str, known: list[str]) -> str:
    """' Did you mean 'x'?' for the nearest known name, else the list of what is known, if anything is."""
    if not known:
        return ""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(sorted(known))}."


def build(cfg: Mapping[str, Any], registry: Registry, **defaults: Any) -> Any:  # noqa: ANN401 - what the config names
    """Build one registered object.

    Args:
        cfg: `type` and the constructor's keyword arguments.
        registry: where `type` is looked up.
        defaults: arguments the caller supplies where the config does not.

    Raises:
        ConfigError: unknown `type`, an argument that the constructor does not take, or text or a list for one number.
    """
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"A {registry.name} config needs a 'type', got {cfg!r}; add type='...' to the dict.")
    arguments = {**defaults, **cfg}
    type_name = arguments.pop("type")
    factory = registry.get(type_name) if isinstance(type_name, str) else type_name
    if factory is None:
        known = list(registry.module_dict)
        raise ConfigError(f"Unknown {registry.name} type '{type_name}'.{suggest(type_name, known)}")
    signature = inspect.signature(factory)
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [] if accepts_any else [key for key in arguments if key not in signature.parameters]
    if unknown:
        hint = suggest(unknown[0], [name for name in signature.parameters if name != "self"])
        raise ConfigError(f"{type_name} does not take '{unknown[0]}'.{hint}")
    for key, value in arguments.items():
        wanted = signature.parameters[key].annotation if key in signature.parameters else None
        if wanted in SCALARS and isinstance(value, str | Sequence | Mapping):  # 'false' would count as true
            raise ConfigError(f"{type_name} takes one {wanted} as '{key}', got {value!r}; correct it.")
    return factory(**arguments)
