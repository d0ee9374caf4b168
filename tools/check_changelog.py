"""A package's changelog must know its version and tell of what changed since the last release.

For each package: the newest released section of `CHANGELOG.md` is `__version__`, and when `src` differs
from the tag of that release (`aqr-core-v0.1.0`), the part under `Unreleased` is not empty.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGES = Path(__file__).resolve().parent.parent / "packages"


def sections(changelog: str) -> list[tuple[str, str]]:
    """(title, body) of the second-level headings, in the order of the file."""
    parts = re.split(r"^## (.+)$", changelog, flags=re.MULTILINE)[1:]
    return [(title.strip(), body.strip()) for title, body in zip(parts[::2], parts[1::2], strict=True)]


def changed_since(tag: str, folder: Path) -> bool:
    """Whether the folder differs from the tag; False while the tag does not exist."""

    def git(*arguments: str) -> int:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True).returncode

    is_released = git("rev-parse", "--quiet", "--verify", f"refs/tags/{tag}") == 0
    return is_released and git("diff", "--quiet", tag, "--", ".") == 1


def fault(package: Path) -> str | None:
    """One sentence on what the package's changelog lacks, or None."""
    name = package.name
    init = (package / "src" / name / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', init, flags=re.MULTILINE)
    if version is None:
        return f'{name}/__init__.py has no line `__version__ = "..."`; every other place reads it from there.'
    found = sections((package / "CHANGELOG.md").read_text(encoding="utf-8"))
    if [title for title, _ in found[:2]] != ["Unreleased", version[1]]:
        return f"{name}/CHANGELOG.md must begin with the sections `Unreleased` and `{version[1]}`, its version."
    tag = f"{name.replace('_', '-')}-v{version[1]}"
    if not found[0][1] and changed_since(tag, package / "src"):
        return f"{name}/src changed since {tag} while `Unreleased` of its CHANGELOG.md is empty; add a line."
    return None


def main() -> int:
    """Check every package; 1 when one of them is at fault."""
    faults = [found for package in sorted(PACKAGES.iterdir()) if (found := fault(package))]
    sys.stderr.writelines(f"{line}\n" for line in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
