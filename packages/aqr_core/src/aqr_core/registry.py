"""Registries of everything a config can name; the only importer of mmengine's `Registry`.

`build(cfg, MODELS)` turns `dict(type='SECOND', ...)` into an object. An unknown type or argument is a
`ConfigError` that names the nearest match, so a typo never silently becomes a default.

The registries hang under mmengine's roots as scope `aqr`, beside those of mmdet3d and mmdet. So a model config may
name a module of theirs, `type='mmdet3d.SECOND'`, and a config of theirs one of ours, `type='aqr.SECOND'`. Nothing of
theirs is imported before a config names it, and a name without a scope is always one of ours.
"""

from __future__ import annotations

import difflib
import inspect
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import mmengine.registry
from mmengine.registry import Registry

from aqr_core.errors import AqrError, ConfigError, one_line

SCOPE = "aqr"
MMDET3D_SCOPES = ("mmdet3d", "mmdet", "mmcv")  # mmdet3d, and what it is built of
SCALARS = ("bool", "int", "float")  # annotations, as text, of arguments that are one number


class ScopedRegistry(Registry):
    """A registry of scope `aqr` that looks elsewhere only where a name says so.

    Args:
        name: what it holds, in messages.
        parent: mmengine's registry of the same kind.
        locations: modules whose import fills it.
        shared: what mmdet3d, mmdet and mmcv register can be used here. Their models can; their transforms and datasets
            work on result dicts, which do not keep points, boxes and all six projections in step as a `Frame` does.
    """

    def __init__(self, name: str, parent: Registry, locations: list[str], shared: bool = False) -> None:
        super().__init__(name, parent=parent, scope=SCOPE, locations=locations)
        self.shared = shared

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever is registered
        """What a `type` names, or None.

        Args:
            key: `NAME` or `aqr.NAME` of this registry, `SCOPE.NAME` of another library's registry under the same root,
                or the dotted path of something that can be imported.

        Raises:
            ConfigError: a library that the name belongs to is absent, broken or not `shared`; or the import failed.
        """
        scope, name = self.split_scope_key(key)
        if scope is None or scope == SCOPE:
            self.import_from_location()
            return self.module_dict.get(name)  # mmengine would go on in the parent, where mmcv puts layers of its own
        if not all(part.isidentifier() for part in key.split(".")):
            return None
        if is_foreign(key):
            self._require(scope, key)
        try:
            found = super().get(key)
        except Exception as error:  # importing runs code of others; mmengine raises its own error over theirs
            cause = error.__context__ or error
            raise ConfigError(
                f"{self.name.capitalize()} type '{key}' cannot be imported "
                f"({type(cause).__name__}: {one_line(cause)}); repair {scope}, or name another type."
            ) from error
        return found if callable(found) else None

    def hint(self, key: str) -> str:
        """What an unknown `type` may have meant, as the end of a message."""
        scope, name = self.split_scope_key(key)
        if scope is None or scope == SCOPE:
            return suggest(name, list(self.module_dict))
        if scope in self.root.children:
            for registry in self.root.children.values():
                registry.import_from_location()
            others = {other: list(registry.module_dict) for other, registry in self.root.children.items()}
            ours_last = sorted(others, key=lambda other: other == SCOPE)
            meant = [f"{other}.{name}" for other in ours_last if name in others[other]]
            meant += [f"{scope}.{near}" for near in difflib.get_close_matches(name, others[scope], n=1)]
            if meant:
                return f" Did you mean '{meant[0]}'?"
            return f" {scope} registers {len(others[scope])} {self.name}s, none of a name like it; correct the name."
        near = difflib.get_close_matches(scope, (SCOPE, *MMDET3D_SCOPES), n=1)
        return f" Did you mean '{near[0]}.{name}'?" if near else suggest(key, list(self.module_dict))

    def _require(self, scope: str, key: str) -> None:
        if not self.shared:
            raise ConfigError(
                f"'{key}' works on {scope}'s result dicts, which our pipeline does not have; use one of our "
                f"{self.name}s, or train our detector with mmdet3d's own runner (docs/mmdet3d.md)."
            )
        from aqr_core.extras import require_mmdet3d  # imports torch, which this module does without

        require_mmdet3d(f"{self.name.capitalize()} type '{key}'")


MODELS = ScopedRegistry("model", mmengine.registry.MODELS, ["aqr_core.models"], shared=True)
TRANSFORMS = ScopedRegistry("transform", mmengine.registry.TRANSFORMS, ["aqr_core.data"])
DATASETS = ScopedRegistry("dataset", mmengine.registry.DATASETS, ["aqr_core.data"])


def is_foreign(type_name: object) -> bool:
    """Whether a `type` belongs to mmdet3d or to what it is built of."""
    return isinstance(type_name, str) and "." in type_name and type_name.split(".")[0] in MMDET3D_SCOPES


def suggest(name: str, known: list[str]) -> str:
    """' Did you mean 'x'?' for the nearest known name, else the list of what is known, if anything is."""
    if not known:
        return ""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(sorted(known))}."


def build(cfg: Mapping[str, Any], registry: ScopedRegistry, **defaults: Any) -> Any:  # noqa: ANN401 - what the config names
    """Build one registered object.

    Args:
        cfg: `type` and the constructor's keyword arguments.
        registry: where `type` is looked up.
        defaults: arguments the caller supplies where the config does not; a type of another library gets those of them
            that it takes.

    Raises:
        ConfigError: unknown `type`, an argument that the constructor does not take or that it lacks, text or a list for
            one number, or arguments that another library refuses.
    """
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"A {registry.name} config needs a 'type', got {cfg!r}; add type='...' to the dict.")
    type_name = cfg["type"]
    factory = registry.get(type_name) if isinstance(type_name, str) else type_name
    if not callable(factory):
        raise ConfigError(f"Unknown {registry.name} type '{type_name}'.{registry.hint(str(type_name))}")
    foreign = is_foreign(type_name)
    parameters = inspect.signature(factory).parameters
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if foreign:
        defaults = {key: value for key, value in defaults.items() if key in parameters}
    arguments = {**defaults, **{key: value for key, value in cfg.items() if key != "type"}}
    unknown = [] if accepts_any else [key for key in arguments if key not in parameters]
    if unknown:
        hint = suggest(unknown[0], [name for name in parameters if name != "self"])
        raise ConfigError(f"{type_name} does not take '{unknown[0]}'.{hint}")
    needed = (
        p for p in parameters.values() if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    )
    lacking = [p.name for p in needed if p.name not in arguments]
    if lacking:
        raise ConfigError(f"{type_name} needs '{lacking[0]}'; add {lacking[0]}=... to its config.")
    for key, value in arguments.items():
        wanted = parameters[key].annotation if key in parameters else None
        if wanted in SCALARS and isinstance(value, str | Sequence | Mapping):  # 'false' would count as true
            raise ConfigError(f"{type_name} takes one {wanted} as '{key}', got {value!r}; correct it.")
    if not foreign:
        return factory(**arguments)
    try:
        return factory(**arguments)
    except AqrError:
        raise
    except Exception as error:  # their constructors check by assert, KeyError and whatever an argument runs into
        said = one_line(error) or traceback.extract_tb(error.__traceback__)[-1].line
        raise ConfigError(
            f"{type_name} refuses its arguments ({type(error).__name__}: {said}); correct {', '.join(arguments)}."
        ) from error
