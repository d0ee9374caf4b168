"""What is installed is pinned to the hash, one version everywhere, and its licences are listed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = sorted((REPOSITORY / "requirements").glob("*.txt"))
OF_LINUX = {"platform_machine": "x86_64", "sys_platform": "linux"}


def entries(path):
    """[(requirement, hashes)] of a lock file."""
    found = []
    for entry in path.read_text().replace("\\\n", " ").splitlines():
        text, *hashes = entry.split("--hash=")
        found.append((Requirement(text.strip()), [word.strip() for word in hashes]))
    return found


def pinned():
    """{(name, python): version} of constraints.txt."""
    found = {}
    for requirement, _ in entries(REPOSITORY / "constraints.txt"):
        for python in ("3.10", "3.11", "3.12"):
            where = {**OF_LINUX, "python_version": python, "python_full_version": f"{python}.9"}
            if requirement.marker is None or requirement.marker.evaluate(where):
                key = canonicalize_name(requirement.name), python
                assert key not in found, f"{key} is pinned twice"
                found[key] = str(requirement.specifier)
    return found


def test_there_is_a_lock_for_every_purpose():
    named = set(re.findall(r"`([\w-]+\.txt)`", (REPOSITORY / "requirements" / "README.md").read_text()))
    assert {path.name for path in LOCKS} == named - {"constraints.txt"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_archive_is_pinned_to_its_hash(lock):
    assert entries(lock)
    for requirement, hashes in entries(lock):
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", word) for word in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_hold_the_versions_of_the_constraints(lock):
    allowed: dict[str, set[str]] = {}
    for (name, _), version in pinned().items():
        allowed.setdefault(name, set()).add(version)
    for requirement, _ in entries(lock):
        assert str(requirement.specifier) in allowed[canonicalize_name(requirement.name)], requirement


def test_the_lock_answers_what_the_packages_declare():
    """A dependency that was added without `make lock` is found here."""
    versions = pinned()
    for project in sorted(REPOSITORY.glob("packages/*/pyproject.toml")):
        declared = tomllib.loads(project.read_text())["project"]
        extras = declared.get("optional-dependencies", {}).values()
        for text in [*declared["dependencies"], *(text for extra in extras for text in extra)]:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if not name.startswith("aqr-"):
                version = versions[name, "3.11"].removeprefix("==")
                assert requirement.specifier.contains(version), f"{project}: {text}, locked {version}"


def test_no_lock_brings_a_torch_of_its_own():
    named = {canonicalize_name(requirement.name) for lock in LOCKS for requirement, _ in entries(lock)}
    assert not [name for name in named if name == "torch" or name.startswith(("nvidia-", "cuda-", "triton"))]


def test_licences_list_everything_that_is_installed():
    page = (REPOSITORY / "docs" / "licences.md").read_text()
    listed = set(re.findall(r"^\| ([a-z0-9][a-z0-9-]*) \| ([^ ]+) \|", page, flags=re.MULTILINE)) - {
        ("package", "version")
    }
    expected = {("torch", pinned()["torch", "3.11"].removeprefix("=="))}
    for name in ("eval", "runtime", "dev", "mmdet3d", "mmcv", "overlay"):
        for requirement, _ in entries(REPOSITORY / "requirements" / f"{name}.txt"):
            where = {**OF_LINUX, "python_version": "3.11", "python_full_version": "3.11.9"}
            if requirement.marker is None or requirement.marker.evaluate(where):
                expected.add((canonicalize_name(requirement.name), str(requirement.specifier).removeprefix("==")))
    assert listed == expected, "run `make licences`"
