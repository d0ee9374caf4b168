"""`make docker-check`: the files of docker/ without an engine, in seconds.

Hadolint reads the Dockerfile and the shell in it, check-jsonschema holds compose.yaml against the Compose
specification, and the rest is what this project promises about them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import compose
import dockerfile
import ignore
from programs import lint, validate

REPOSITORY = Path(__file__).resolve().parents[2]


def text_faults(repository: Path) -> Iterator[str]:
    """What the three files break of their promises."""
    dockerfile_text = (repository / "docker" / "Dockerfile").read_text(encoding="utf-8")
    compose_text = (repository / "docker" / "compose.yaml").read_text(encoding="utf-8")
    yield from dockerfile.faults(dockerfile_text, repository)
    yield from compose.faults(compose_text, dockerfile.arguments(dockerfile_text))
    yield from ignore.faults((repository / ".dockerignore").read_text(encoding="utf-8"))


def main() -> int:
    """Run everything; 1 where something is at fault."""
    folder = REPOSITORY / "docker"
    commands = [lint(folder / "Dockerfile"), validate(folder / "compose.yaml")]
    failed = [command for command in commands if subprocess.run(command).returncode]
    faults = list(text_faults(REPOSITORY))
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if failed or faults else 0


if __name__ == "__main__":
    sys.exit(main())
