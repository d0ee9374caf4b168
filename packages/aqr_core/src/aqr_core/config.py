"""Load, resolve, check and dump a config; the only importer of mmengine's `Config`.

A config is a Python file in the manner of OpenMMLab: `_base_` names its parents, what it assigns is the
difference. Shipped configs are found by name: a package lists its config module under the entry-point group
`aqr.configs`, and every `.py` file beside that module is a config of that name.

What mmengine lets pass in silence is an error here: unknown keys, a name assigned twice in one file (the
second would replace the first), an override that misses. Names with a leading underscore are private to the
files (a range used twice, a pipeline) and are not part of the resolved config.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mmengine.config import Config

from aqr_core.errors import AqrError, ConfigError, one_line
from aqr_core.registry import DATASETS, MODELS, TRANSFORMS, suggest

ENTRY_POINT_GROUP = "aqr.configs"

# Top-level names and, for plain sections, the keys they take. `model` and the datasets are checked by the
# constructors that `aqr_core.registry.build` calls; `schedule` by its own `type`.
SCHEMA: dict[str, tuple[str, ...] | None] = {
    "model": None,
    "data": ("train", "val", "batch_size", "num_workers"),
    "optimizer": ("type", "lr", "weight_decay", "betas", "param_groups", "base_batch_size"),
    "schedule": ("type", "warmup_steps", "min_ratio", "target_ratio", "momentum_ratio", "step_ratio_up"),
    "train": (
        "max_steps",
        "epochs",
        "grad_clip",
        "accumulate",
        "precision",
        "max_skipped",
        "gradient_checkpointing",
        "ema",
        "log_every",
        "val_every",
        "picture_every",
        "save_every",
        "keep",
        "best",
        "trackers",
        "find_unused_parameters",
    ),
    "dataroot": None,
    "load_from": None,
    "seed": None,
    "custom_imports": None,
}


def load_config(path_or_name: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config file with its bases and apply overrides.

    Args:
        path_or_name: a `.py` file, or the name of a shipped config.
        overrides: `a.b=c` strings; list items by index (`data.val.pipeline.0.x=1`). Values are Python
            literals; what is no literal is taken as text.

    Raises:
        ConfigError: unknown name, key or override (with the nearest match), or a file that Python rejects.
    """
    path = _find(path_or_name)
    _check_assigned_once(path)
    try:
        config = Config.fromfile(path, import_custom_modules=True)
    except AqrError:  # of a custom import, which says what is missing
        raise
    except Exception as error:  # a config is a program: whatever it raises is the user's to mend
        raise ConfigError(
            f"Config {path} cannot be read: {type(error).__name__}: {one_line(error)}; fix the file."
        ) from error
    for key in [key for key in config if key.startswith("_")]:
        config.pop(key)
    for override in overrides:
        _apply(config, override)
    _check_keys(config, path)
    return config


def run_foreign_config(path: str | Path) -> dict[str, Any]:
    """Every top-level name of any config in OpenMMLab's manner, after its bases, as plain dicts.

    The file is run and nothing is checked; modules that it names in `custom_imports` or as a plugin are not imported.

    Raises:
        Exception: whatever the file raises.
    """
    values: dict[str, Any] = Config.fromfile(path, import_custom_modules=False, lazy_import=False).to_dict()
    return values


def dump(config: Config) -> str:
    """The resolved config as Python text; `load_config` of it gives the same config."""
    return str(config.pretty_text)


def config_names() -> dict[str, Path]:
    """Every shipped config: name -> file."""
    found: dict[str, Path] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        module = importlib.import_module(entry_point.value)
        for folder in module.__path__:
            found |= {file.stem: file for file in Path(folder).glob("*.py") if file.stem != "__init__"}
    return found


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.suffix == ".py" and path.is_file():
        return path
    names = config_names()
    if str(path_or_name) in names:
        return names[str(path_or_name)]
    hint = suggest(path.stem, list(names)) if names else " No package has registered configs; run `make setup`."
    raise ConfigError(f"Config '{path_or_name}' is neither a .py file nor a shipped config.{hint}")


def _check_assigned_once(path: Path) -> None:
    """Refuse a file of the chain that binds one top-level name twice."""
    try:
        statements = ast.parse(path.read_text(encoding="utf-8")).body
    except SyntaxError as error:
        raise ConfigError(f"Config {path} line {error.lineno}: {error.msg}; fix the syntax.") from error
    seen: dict[str, int] = {}
    bases: list[str] = []
    for statement in statements:
        if not isinstance(statement, ast.Assign):
            continue
        for target in (t for t in statement.targets if isinstance(t, ast.Name)):
            if target.id in seen:
                raise ConfigError(
                    f"Config {path} assigns '{target.id}' in line {seen[target.id]} and again in line "
                    f"{statement.lineno}, which would drop the first; merge the two."
                )
            seen[target.id] = statement.lineno
            if target.id == "_base_":
                value = ast.literal_eval(statement.value)
                bases = [value] if isinstance(value, str) else list(value)
    for base in bases:
        base_path = path.parent / base
        if base_path.suffix == ".py":
            if not base_path.is_file():
                raise ConfigError(f"Config {path} builds on '{base}', which does not exist; correct its _base_.")
            _check_assigned_once(base_path)


def _check_keys(config: Config, path: Path) -> None:
    for key in config:
        if key not in SCHEMA:
            raise ConfigError(f"Config {path} has an unknown key '{key}'.{suggest(key, list(SCHEMA))}")
        section, allowed = config[key], SCHEMA[key]
        if allowed is None:
            continue
        if not isinstance(section, Mapping):
            raise ConfigError(f"Config {path}: '{key}' must be a dict, got {section!r}.")
        for name in section:
            if name not in allowed:
                raise ConfigError(f"Config {path} has an unknown key '{key}.{name}'.{suggest(name, list(allowed))}")


def _apply(config: Config, override: str) -> None:
    dotted, separator, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"Override '{override}' is not of the form a.b=value; write for example train.max_steps=20.")
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        value = text.strip()
    node: Any = config
    for depth, key in enumerate(keys[:-1]):
        node = _child(node, key, keys[: depth + 1], override)
    last: Any = keys[-1]
    if isinstance(node, list):
        _child(node, last, keys, override)
        last = int(last)
    elif not isinstance(node, Mapping | Config):
        raise ConfigError(f"Override '{override}': '{'.'.join(keys[:-1])}' is {node!r}, which holds no keys.")
    elif last not in node:
        allowed = _settable(node, keys)
        if last not in allowed:
            hint = suggest(last, sorted({*map(str, node), *allowed}))
            raise ConfigError(f"Override '{override}': the config has no '{dotted}'.{hint}")
    current = node[last] if isinstance(node, list) else node.get(last, _defaults(node).get(last))
    if isinstance(value, str) and isinstance(current, bool | int | float):
        raise ConfigError(f"Override '{override}': {dotted} is a number or bool in Python spelling, got '{value}'.")
    node[last] = value


def _child(node: Any, key: str, path: list[str], override: str) -> Any:  # noqa: ANN401 - a node is any value
    """One step down a dotted path; only what exists can be entered."""
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError(f"Override '{override}': '{key}' is no index of a list of {len(node)} items.")
        return node[int(key)]
    if isinstance(node, Mapping | Config) and key in node:
        return node[key]
    known = sorted(map(str, node)) if isinstance(node, Mapping | Config) else []
    hint = suggest(key, known) if known else ""
    raise ConfigError(f"Override '{override}': the config has no '{'.'.join(path)}'.{hint}")


def _settable(node: Mapping[str, Any] | Config, keys: list[str]) -> set[str]:
    """Names that may be set although the config is silent about them."""
    if len(keys) == 1:
        return set(SCHEMA)
    if len(keys) == 2 and SCHEMA.get(keys[0]) is not None:
        return set(SCHEMA[keys[0]] or ())
    defaults = _defaults(node)
    if defaults:
        return set(defaults)
    return {"lr_mult", "decay_mult", "frozen", "norm_eval"} if keys[:2] == ["optimizer", "param_groups"] else set()


def _defaults(node: Mapping[str, Any] | Config) -> dict[str, Any]:
    """What the constructor of a dict with a `type` takes, with the defaults; nothing where no registry knows it."""
    type_name = node.get("type")
    for registry in (MODELS, TRANSFORMS, DATASETS):
        factory = registry.get(type_name) if isinstance(type_name, str) else None
        if factory is not None:
            parameters = inspect.signature(factory).parameters
            defaults = {name: parameter.default for name, parameter in parameters.items() if name != "self"}
            return {**defaults, "until_epoch": None} if registry is TRANSFORMS else defaults
    return {}
