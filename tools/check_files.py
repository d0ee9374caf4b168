"""Guard of the files that enter the repository: small, and text ends in one newline.

Usage: `python tools/check_files.py [FILE ...]`; without files, every tracked one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LARGEST_BYTES = 50_000
# Large by nature: the shipped weights, and the one resolution of all dependencies.
EXEMPT = (Path("packages/aqr_train/src/aqr_train/weights"), Path("uv.lock"))


def fault(path: Path) -> str | None:
    """One sentence on what is wrong with the file, or None."""
    content = path.read_bytes()
    if len(content) > LARGEST_BYTES and not any(path.is_relative_to(exempt) for exempt in EXEMPT):
        return f"{path} has {len(content)} bytes, more than {LARGEST_BYTES}; generate it in a test or leave it out."
    is_text = b"\0" not in content
    if content and is_text and (not content.endswith(b"\n") or content.endswith(b"\n\n")):
        return f"{path} must end in exactly one newline."
    return None


def tracked_files() -> list[str]:
    """Every file that git knows, relative to the root of the repository."""
    return subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()


def main(arguments: list[str]) -> int:
    """Check the files named, or all tracked files; 1 when one of them is at fault."""
    names = arguments or tracked_files()
    faults = [found for name in names if Path(name).is_file() and (found := fault(Path(name)))]
    sys.stderr.writelines(f"{line}\n" for line in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
