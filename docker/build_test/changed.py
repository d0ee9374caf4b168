"""Whether what images are made of differs from what the last build test built: exit 0 where it is the same.

`.ci/run` asks, and builds where the answer is no. `proven.txt` beside this file holds the hashes of the build whose log
docs/docker.md tells; it is written by the build test and committed, so a shallow clone knows as much as any other.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
INPUTS = (
    ".dockerignore",
    "docker/Dockerfile",
    "docker/finish.sh",
    "docker/build_test/*.py",
    "requirements/*.txt",
    "constraints.txt",
    "packages/*/pyproject.toml",
)
PROVEN = Path("docker/build_test/proven.txt")


def hashes(repository: Path) -> dict[str, str]:
    """Path to SHA-256 of every input."""
    paths = sorted({path for pattern in INPUTS for path in repository.glob(pattern)})
    return {path.relative_to(repository).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def proven(repository: Path) -> dict[str, str]:
    """The hashes of the last build; empty where none was recorded."""
    path = repository / PROVEN
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def changed(repository: Path) -> list[str]:
    """Paths that are new, gone or other than in the last build."""
    now, then = hashes(repository), proven(repository)
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def write_record(repository: Path, built: dict[str, str]) -> None:
    """Record what was built, the hashes of its inputs; `sha256sum --check` reads the file as well."""
    lines = [f"{digest}  {name}\n" for name, digest in built.items()]
    target = repository / PROVEN
    temporary = target.with_suffix(".tmp")
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(target)


def main() -> int:
    """Tell what changed; 1 if something did."""
    names = changed(REPOSITORY)
    if names:
        sys.stdout.write(f"Images must be built again, these changed: {', '.join(names)}\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
