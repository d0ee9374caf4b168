"""Files and folders that appear whole or not at all, also when the process is killed or the power fails."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

_MANY = 1000  # files
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.(tmp|old)")


@contextmanager
def replacing_folder(folder: str | Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder` and gives it that name when the block is done and all of it is on disk.

    A block that raises leaves the old folder as it was and nothing beside it. Missing parents are made.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(folder, "tmp")
    unfinished.mkdir()
    try:
        yield unfinished
        paths = list(islice(unfinished.rglob("*"), _MANY))
        if len(paths) < _MANY:
            for path in paths:
                _sync(path)
        else:
            os.sync()  # one wait for whatever the system has not written yet is shorter than one per file
        _sync(unfinished)
        if folder.exists():
            remove_folder(folder, replacement=unfinished)
        else:
            os.rename(unfinished, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_folder(folder: Path, replacement: Path | None = None) -> None:
    """Delete a folder in one stroke, so that no half of it keeps its name; `replacement` takes that name at once."""
    old = _beside(folder, "old")
    os.rename(folder, old)
    if replacement is not None:
        os.rename(replacement, folder)
    shutil.rmtree(old)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yields a name beside `path`; the file that the block writes there takes the name `path` when it is on disk."""
    unfinished = _beside(path, "tmp")
    try:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, path)
        _sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file under a temporary name, then rename it."""
    with replacing_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def sweep_unfinished(folder: Path) -> list[str]:
    """Remove what killed processes left in this folder under temporary names; returns the names.

    Call it only where no other process is writing.
    """
    left = [path for path in folder.glob(".*") if _UNFINISHED.fullmatch(path.name)]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return [path.name for path in left]


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{ending}")


def _sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk; else a rename may get there before it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
