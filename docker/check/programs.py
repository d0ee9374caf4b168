"""The two programs of the check, as commands."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import which

CONFIG = Path(__file__).resolve().parents[1] / ".hadolint.yaml"


def lint(dockerfile_path: Path) -> list[str | Path]:
    """The command that lints a Dockerfile."""
    return [tool("hadolint"), "--config", CONFIG, dockerfile_path]


def validate(compose_path: Path) -> list[str | Path]:
    """The command that holds a compose file against the specification, which comes with the tool."""
    return [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", compose_path]


def tool(name: str) -> str:
    """A program beside the running Python, or on the PATH."""
    found = which(name, path=str(Path(sys.executable).parent)) or which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed; run `make setup`.")
    return found
