"""Files that are there whole or not at all, and places where none can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aqr_eval.nuscenes.errors import AqrError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it when the block is done.

    A block that raises, or a run that is interrupted, leaves the old file as it was. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def check_file(path: str | Path | None) -> None:
    """Refuses a place where no file can be written; found out now, not after the work."""
    if path is not None and Path(path).is_dir():
        raise AqrError(f"{path} is a folder: name the file to write in it.")


def check_folder(path: str | Path | None, content: str) -> None:
    """Refuses a place where no folder of `content` can be made."""
    if path is not None and Path(path).is_file():
        raise AqrError(f"{path} is a file: name a folder for the {content}.")
