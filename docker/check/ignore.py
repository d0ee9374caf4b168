"""The rules of a .dockerignore: which paths of the context a build does not see."""

from __future__ import annotations

import re
from collections.abc import Iterator

# What must never reach a build, and what a build needs.
OUT = (
    ".git/HEAD",
    ".venv/bin/python",
    ".venv-mmdet3d/ready",
    "docker/.env",
    ".ci/run",
    "data/nuscenes/samples/LIDAR_TOP/x.pcd.bin",
    "work_dirs/cmt/checkpoints/latest",
    "demo/report.html",
    "build/log.txt",
    "cmt_r50.pth",
    "packages/aqr_core/src/aqr_core/x.pth",
    "packages/aqr_core/src/aqr_core/__pycache__/config.cpython-311.pyc",
    "tests/__pycache__/conftest.cpython-311.pyc",
)
IN = (
    "LICENSE",
    "constraints.txt",
    "pyproject.toml",
    "docker/finish.sh",
    "requirements/runtime.txt",
    "tools/mmcv_operators.py",
    "tests/conftest.py",
    "packages/aqr_core/pyproject.toml",
    "packages/aqr_core/src/aqr_core/data/dataset.py",
    "packages/aqr_train/src/aqr_train/demo.py",
    "packages/aqr_train/src/aqr_train/weights/cmt_tiny/model.safetensors",
)


def faults(text: str) -> Iterator[str]:
    """One sentence for each path on the wrong side."""
    patterns = read(text)
    yield from (f".dockerignore lets {path} into the build." for path in OUT if not is_ignored(path, patterns))
    yield from (f".dockerignore keeps {path} from the build." for path in IN if is_ignored(path, patterns))


def read(text: str) -> list[str]:
    """The patterns, in order, without comments and slashes at the ends."""
    lines = (line.strip() for line in text.splitlines())
    return [line.removeprefix("/").removesuffix("/") for line in lines if line and not line.startswith("#")]


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether the last pattern that fits the path or a folder above it excludes it (`!` takes back)."""
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    ignored = False
    for pattern in patterns:
        expression = _expression(pattern.removeprefix("!").removeprefix("/"))
        if any(expression.fullmatch(candidate) for candidate in above):
            ignored = not pattern.startswith("!")
    return ignored


def _expression(pattern: str) -> re.Pattern[str]:
    """As Docker's: `**/` any folders or none, `*` and `?` inside one name."""
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.findall(r"\*\*/|\*\*|\*|\?|\[[^]]*\]|.", pattern)
    return re.compile("".join(forms.get(word) or (word if word.startswith("[") else re.escape(word)) for word in words))
