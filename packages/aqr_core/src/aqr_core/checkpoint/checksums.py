"""`SHA256SUMS` of a checkpoint folder: finds files that are truncated, lost or changed since they were written."""

from __future__ import annotations

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"
_BINARY = (".safetensors", ".pt")  # text may be edited by hand, and says itself when it cannot be read


def write_checksums(folder: Path) -> None:
    """List the binary files of a folder in the format that `sha256sum --check` reads."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in _BINARY)
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def find_damage(folder: Path, only: str | None = None) -> str | None:
    """What is wrong with a checkpoint folder, as part of a sentence, or None; a folder without the list is not checked.

    Args:
        folder: of the checkpoint.
        only: relative name of the one file to check.
    """
    list_file = folder / SUMS
    if not list_file.is_file():
        return None
    for line in list_file.read_text(encoding="utf-8", errors="replace").splitlines():
        checksum, _, name = line.partition("  ")
        if only is not None and name != only:
            continue
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        if sha256_of(file) != checksum:
            return f"{file} is damaged (its checksum is not the one in {SUMS})"
    return None


def sha256_of(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
