"""The import arrows: aqr_train -> aqr_core -> aqr_eval, and who may know which library."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = Path(__file__).resolve().parents[2] / "packages"
# What a package may import of this workspace: a prefix of the module's name.
ARROWS = {
    "aqr_eval": ("aqr_eval",),
    "aqr_core": ("aqr_core", "aqr_eval.nuscenes"),
    "aqr_train": ("aqr_train", "aqr_core", "aqr_eval"),
}

MMDET3D = ("mmdet3d", "mmdet", "mmcv")


def imports(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Absolute names that a module imports anywhere, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def imports_of(package: str) -> list[tuple[Path, str]]:
    """(file relative to the package's folder, absolute name imported) of every module of a package."""
    root = PACKAGES / package / "src"
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        names = imports(path.read_text(encoding="utf-8"), module, is_package)
        found += [(path.relative_to(root / package), name) for name in names]
    return found


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def declared_distributions(package: str) -> set[str]:
    project = tomllib.loads((PACKAGES / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = project["dependencies"] + sum(project.get("optional-dependencies", {}).values(), [])
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("package", ARROWS)
def test_arrows_point_downwards(package):
    ours = [(path, name) for path, name in imports_of(package) if within(name, tuple(ARROWS))]
    assert ours, f"{package} imports nothing of the workspace; is the scan looking at {PACKAGES}?"
    assert [f"{path}: {name}" for path, name in ours if not within(name, ARROWS[package])] == []


@pytest.mark.parametrize("package", ARROWS)
def test_every_library_imported_is_declared(package):
    """But those of mmdet3d, which no dependency can install; `aqr_core.extras` asks for them instead."""
    distributions = packages_distributions()
    declared = declared_distributions(package)
    undeclared = set()
    for path, name in imports_of(package):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top in ARROWS or top in MMDET3D:
            continue
        if not declared.intersection(dist.lower() for dist in distributions.get(top, [])):
            undeclared.add(f"{path}: {top}")
    assert sorted(undeclared) == []


def test_mmengine_is_known_to_two_files_and_to_the_code_for_mmdet3d():
    users = {
        f"{package}/{path}" for package in ARROWS for path, name in imports_of(package) if within(name, ("mmengine",))
    }
    assert {user for user in users if not user.startswith("aqr_core/mmdet3d/")} == {
        "aqr_core/config.py",
        "aqr_core/registry.py",
    }


def test_mmdet3d_is_known_to_one_folder():
    users = {f"{package}/{path}" for package in ARROWS for path, name in imports_of(package) if within(name, MMDET3D)}
    assert users and all(user.startswith("aqr_core/mmdet3d/") for user in users), users


def test_nobody_imports_the_code_for_mmdet3d():
    """It is for configs of mmdet3d; whoever else imported it would need mmdet3d."""
    users = {
        f"{package}/{path}"
        for package in ARROWS
        for path, name in imports_of(package)
        if within(name, ("aqr_core.mmdet3d",)) and not f"{package}/{path}".startswith("aqr_core/mmdet3d/")
    }
    assert users == set()


def test_the_devkit_is_an_oracle_of_tests_only():
    users = [
        f"{package}/{path}" for package in ARROWS for path, name in imports_of(package) if within(name, ("nuscenes",))
    ]
    assert users == []


def test_scan_sees_relative_and_nested_imports():
    source = "from . import a\nfrom ..b import c\ndef f():\n    import d.e\n"
    assert list(imports(source, "pkg.sub.mod", is_package=False)) == ["pkg.sub.a", "pkg.b.c", "d.e"]
    assert list(imports("from .x import y\n", "pkg.sub", is_package=True)) == ["pkg.sub.x.y"]
