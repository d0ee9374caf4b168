""".dockerignore keeps data, weights and secrets from builds, and lets everything in that a build needs."""

from __future__ import annotations

import ignore
import pytest


@pytest.fixture(scope="module")
def text(repository):
    return (repository / ".dockerignore").read_text(encoding="utf-8")


def test_the_right_paths_stay_out(text):
    assert list(ignore.faults(text)) == []


def test_every_source_that_a_build_copies_comes_in(text, repository):
    patterns = ignore.read(text)
    kinds = ("*.py", "*.yaml", "*.sbatch", "*.json", "*.safetensors", "SHA256SUMS")
    copied = [path for folder in ("tests", "packages") for kind in kinds for path in (repository / folder).rglob(kind)]
    names = [path.relative_to(repository).as_posix() for path in copied if "benchmarks" not in path.parts]
    assert len(names) > 100
    assert [name for name in names if ignore.is_ignored(name, patterns)] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("\n/data\n", "\n", "lets data/nuscenes/samples/LIDAR_TOP/x.pcd.bin into the build"),
        ("\n/data\n", "\n**/data\n", "keeps packages/aqr_core/src/aqr_core/data/dataset.py from the build"),
        ("**/.*", "**/.git", "lets docker/.env into the build"),
        ("**/*.pth", "*.pth", "lets packages/aqr_core/src/aqr_core/x.pth into the build"),
        ("/docs", "*", "keeps LICENSE from the build"),
    ],
)
def test_a_wrong_pattern_is_told(text, old, new, fault):
    assert old in text
    assert any(fault in told for told in ignore.faults(text.replace(old, new)))


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("data", "data/a/b", True),
        ("data", "src/data/a", False),
        ("**/data", "src/data/a", True),
        ("**/data", "data", True),
        ("*.pth", "a.pth", True),
        ("*.pth", "a/b.pth", False),
        ("a/*", "a/b/c", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("**/*.py[co]", "x/y.pyc", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns_read_as_docker_reads_them(pattern, path, ignored):
    assert ignore.is_ignored(path, ignore.read(pattern)) is ignored


def test_a_later_pattern_takes_back():
    assert not ignore.is_ignored("docs/docker.md", ignore.read("docs\n!docs/docker.md"))
    assert ignore.is_ignored("docs/docker.md", ignore.read("!docs/docker.md\ndocs"))
