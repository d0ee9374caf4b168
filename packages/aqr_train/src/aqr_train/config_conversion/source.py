"""Reads a config of the field as mmcv does, and imports nothing of the project that it belongs to.

The file is a program, and it is run. `plugin` and `custom_imports` stay names: no plugin is imported. mmcv lets a
second assignment of a name replace the first without a word (an earlier AQR lost its frozen parts that way: `model`
was written twice), here that is an error.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_core.config import run_foreign_config
from aqr_core.errors import ConfigError, one_line

NEW_STYLE = ("train_dataloader", "optim_wrapper", "param_scheduler", "default_hooks", "train_cfg", "default_scope")


@dataclass(frozen=True)
class Source:
    """A config as it is after its bases.

    Attributes:
        path: the file.
        config: every top-level name and its value, plain dicts.
        helpers: top-level names whose value the file or one of its bases uses elsewhere.
    """

    path: Path
    config: dict[str, Any]
    helpers: frozenset[str]


def read_source(path: Path) -> Source:
    """Run the config.

    Raises:
        ConfigError: no Python file, one that does not run, a base that is absent, a name assigned twice, or a config of
            mmdet3d 1.x.
    """
    if path.suffix != ".py" or not path.is_file():
        raise ConfigError(
            f"{path} is no Python file; name the config of a CMT checkout, such as projects/configs/x.py."
        )
    files = list(_chain(path))
    assigned = {name for tree in files for name in _assigned(tree)}
    if any(_reads_bases(tree) for tree in files) or len(assigned.intersection(NEW_STYLE)) > 1:
        found = ", ".join(name for name in NEW_STYLE if name in assigned) or "read_base()"
        raise ConfigError(
            f"{path} is a config of mmdet3d 1.x ({found}), and only those of mmcv 1.x are converted; keep it and train "
            "our models in mmdet3d with custom_imports=dict(imports=['aqr_core.mmdet3d']), or start from a shipped "
            "config (docs/from-mmdet3d.md)."
        )
    try:
        config = run_foreign_config(path)
    except Exception as error:  # a config is a program: whatever it raises is the user's to mend
        raise ConfigError(f"{path} does not run: {type(error).__name__}: {one_line(error)}; correct it.") from error
    used = {name for tree in files for name in _used(tree)}
    return Source(path, config, frozenset(used & set(config)))


def _chain(path: Path) -> Iterator[ast.Module]:
    """The syntax trees of a file and its bases."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{path}{line} is no Python: {message}; correct it.") from error
    _check_assigned_once(tree, path)
    yield tree
    for name in _bases(tree, path):
        base = path.parent / name
        if base.suffix == ".py":
            if not base.is_file():
                raise ConfigError(
                    f"{path} builds on '{name}', which is not there; convert it where it lies, inside its checkout, or "
                    "take the line out of _base_ and write what it gave into the file."
                )
            yield from _chain(base)


def _bases(tree: ast.Module, path: Path) -> list[str]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and "_base_" in _targets(statement):
            try:
                value = ast.literal_eval(statement.value)
            except ValueError as error:
                raise ConfigError(f"{path}: _base_ is computed; write the paths themselves.") from error
            return [value] if isinstance(value, str) else list(value)
    return []


def _check_assigned_once(tree: ast.Module, path: Path) -> None:
    seen: dict[str, int] = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        for name in _targets(statement):
            if name in seen and name not in _used(statement):  # `x = x + [...]` loses nothing
                raise ConfigError(
                    f"{path} assigns '{name}' in line {seen[name]} and again in line {statement.lineno}, and mmcv "
                    "forgets the first; merge the two, or delete the one that is not meant."
                )
            seen[name] = statement.lineno


def _targets(statement: ast.Assign) -> list[str]:
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _assigned(tree: ast.Module) -> set[str]:
    return {name for statement in tree.body if isinstance(statement, ast.Assign) for name in _targets(statement)}


def _used(tree: ast.AST) -> set[str]:
    """Names that are read, also as `_base_.name`, and as mmcv's '{{_base_.name}}'."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_base_":
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.update(re.findall(r"{{\s*_base_\.(\w+)", node.value))
    return names


def _reads_bases(tree: ast.Module) -> bool:
    """Whether it takes its bases by mmengine's `with read_base():`."""
    return any(isinstance(statement, ast.With) and "read_base" in _used(statement) for statement in tree.body)
