"""The host's pip, handed on to builds: its indexes, links, certificates and constraints, read-only and in no image.

A host behind a mirror or with wheels on its disk installs from there inside a build as well. What pip is told comes
from its files and from PIP_ variables alike (`pip config list`); local folders among it are mounted.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

INSIDE = "/run/host-pip"
# Where packages come from, and nothing that says where they go.
INDEXES = {"index-url", "extra-index-url", "find-links", "no-index", "constraint"}
CONNECTION = {"cert", "client-cert", "trusted-host", "proxy", "timeout", "default-timeout", "retries"}
KEYS = INDEXES | CONNECTION


def settings() -> dict[str, str]:
    """Name to value of what the running interpreter's pip is told; variables win over files, as in pip."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    return parse(listed.stdout)


def parse(listed: str) -> dict[str, str]:
    """The lines `section.key='value'` of `pip config list`; of a variable the section is `:env:`."""
    found: dict[str, str] = {}
    by_variables: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if key in KEYS:
            (by_variables if section == ":env:" else found)[key] = str(ast.literal_eval(value))
    return found | by_variables


def inside(told: dict[str, str]) -> tuple[str, dict[Path, str]]:
    """The pip.conf for containers, and what to mount where.

    Args:
        told: as `settings` gives it.

    Returns:
        The text; local files and folders to their place inside.
    """
    mounts: dict[Path, str] = {}
    lines = ["[global]"]
    for key, value in sorted(told.items()):
        words = [_moved(word, mounts) for word in value.split()]
        lines.append(f"{key} = {' '.join(words)}")
    return "\n".join(lines) + "\n", mounts


def _moved(word: str, mounts: dict[Path, str]) -> str:
    """A word of the configuration as containers see it; notes in `mounts` what it needs."""
    scheme = "file://" if word.startswith("file://") else ""
    path = Path(word.removeprefix(scheme))
    if not path.is_absolute() or not path.exists():
        return word
    # The pages of an index on disk link to the archives beside it.
    root = path.parent if scheme and path.name == "simple" else path
    place = mounts.setdefault(root, f"{INSIDE}/{len(mounts)}{root.suffix}")
    return f"{scheme}{place}" + ("" if root == path else f"/{path.name}")
