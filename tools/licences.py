"""Write docs/licences.md: every package that the lock files install, the licence it declares, and who needs it.

Usage: `PYTHON tools/licences.py INTERPRETER`, with a Python that has pip-licenses, and the interpreter of an
environment that holds all of them (`make mmdet3d`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
# Who needs a package, by the lock files that name it; the first that does counts.
PURPOSES = {
    "eval": "aqr_eval",
    "runtime": "aqr_core, aqr_train",
    "dev": "tests and checks",
    "mmdet3d": "mmdet3d",
    "mmcv": "mmdet3d",
    "overlay": "aqr_core, aqr_train",
}
INTRODUCTION = """# Licences of what is installed

Written by `make licences` from the metadata of the packages themselves; a line that matters to you deserves a look
into the package. The project is Apache-2.0. What `make setup` installs is permissive or under the MPL, but for two
tools of the tests: the devkit of nuScenes (non-commercial) and the linter of Dockerfiles (GPL-3.0), a program of its
own. Of `make mmdet3d` two more are not: `plyfile` (GPL-3.0 or later) and `lyft-dataset-sdk` (non-commercial), which
mmdet3d imports. Where torch is a CUDA build, NVIDIA's libraries come with it under NVIDIA's licences. The data of
nuScenes have terms of their own and are no part of this.

| package | version | licence | needed by |
| --- | --- | --- | --- |
"""


def normal(name: str) -> str:
    """A name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def purposes() -> dict[str, str]:
    """Package -> who needs it, by the lock files."""
    found = {"torch": PURPOSES["runtime"]}
    for lock, purpose in PURPOSES.items():
        text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
        for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, flags=re.MULTILINE):
            found.setdefault(normal(name), purpose)
    return found


def declared(interpreter: str) -> list[dict[str, str]]:
    """Name, version and licence of all installed there."""
    words = ["--python", interpreter, "--format", "json", "--with-system", "--from", "mixed"]
    done = subprocess.run([sys.executable, "-m", "piplicenses", *words], capture_output=True, text=True, check=True)
    packages: list[dict[str, str]] = json.loads(done.stdout)
    return packages


def rows(packages: list[dict[str, str]]) -> list[str]:
    """A line per package that a lock file names, by purpose and name."""
    needed, order = purposes(), list(dict.fromkeys(PURPOSES.values()))
    kept = [(needed[normal(package["Name"])], package) for package in packages if normal(package["Name"]) in needed]
    kept.sort(key=lambda pair: (order.index(pair[0]), normal(pair[1]["Name"])))
    lines = []
    for purpose, package in kept:
        licence = " ".join(package["License"].split())
        version = package["Version"].split("+")[0]  # torch is one version in many builds
        lines.append(f"| {normal(package['Name'])} | {version} | {licence} | {purpose} |\n")
    return lines


def main() -> None:
    """Write the page."""
    PAGE.write_text(INTRODUCTION + "".join(rows(declared(sys.argv[1]))), encoding="utf-8")


if __name__ == "__main__":
    main()
