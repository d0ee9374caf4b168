"""Reads an infos file lazily: a record is parsed when it is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from aqr_core.errors import DataError
from aqr_core.infos.mmdet3d import Mmdet3dInfos
from aqr_core.infos.parse import FieldError, parse_header, parse_info
from aqr_core.infos.presence import Presence
from aqr_core.infos.schema import Info, InfosHeader

T = TypeVar("T")

_CHUNK_BYTES = 1 << 22
_REMEDY = "rebuild the file with `aqr prepare`"
_TOKEN = re.compile(rb'\{"token":"([^"\\]*)"')  # how `build_infos` begins a record


class Infos(Sequence[Info]):
    """The keyframes of one split, as written by `build_infos`.

    Only the byte offsets of the lines are kept (8 bytes per keyframe). The file is opened per access,
    so that the object pickles and may be shared by DataLoader workers.

    Attributes:
        path: the file.
        header: its first line.
    """

    def __init__(self, path: Path, header: InfosHeader, offsets: np.ndarray) -> None:
        self.path = path
        self.header = header
        self._offsets = offsets  # (lines + 1,) int64: start of each line, then the end of the file

    @classmethod
    def open(cls, path: str | Path) -> Infos:
        """Index a file and check its header.

        Raises:
            DataError: no such file, no infos file, or one that ends within a record.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(_absent(path))
        offsets = line_offsets(path)
        if offsets[-1] != path.stat().st_size:
            raise DataError(f"{path}:{len(offsets)}: the file ends in the middle of a record; {_REMEDY}.")
        return cls(path, _read_line(path, offsets, 0, parse_header), offsets)

    def __len__(self) -> int:
        return max(len(self._offsets) - 2, 0)

    @overload
    def __getitem__(self, index: int) -> Info: ...
    @overload
    def __getitem__(self, index: slice) -> list[Info]: ...
    def __getitem__(self, index: int | slice) -> Info | list[Info]:
        """The keyframe(s) at a position.

        Raises:
            DataError: the record breaks the schema; names file, line and field.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"keyframe {index} of {len(self)} in {self.path}")
        line = index % len(self) + 1
        return _read_line(self.path, self._offsets, line, lambda record: parse_info(record, self.header))

    def tokens(self) -> list[str]:
        """The sample token of each keyframe, in one pass over the file.

        Raises:
            DataError: a record that is not as `build_infos` writes it breaks the schema.
        """
        with self.path.open("rb") as file:
            file.readline()
            starts = [_TOKEN.match(line) for line in file]
        return [start[1].decode() if start else self[i].token for i, start in enumerate(starts)]

    def presence(self) -> Presence:
        """Which classes each keyframe holds, in one pass over the file.

        The records are not checked here but when they are used, except those that look unusual.

        Raises:
            DataError: an unusual record breaks the schema.
        """
        presence = Presence.empty(len(self), len(self.header.classes))
        with self.path.open("rb") as file:
            file.readline()
            for frame, line in enumerate(file):
                if not presence.mark_line(frame, line):
                    presence.mark(frame, self[frame].gt)
        return presence


def open_infos(path: str | Path, box_convention: str | None = None) -> Infos | Mmdet3dInfos:
    """Open infos of any supported kind; the content decides, not the name.

    Args:
        path: an infos file of `aqr prepare`, or an mmdet3d info pickle of format 1.0 or 1.1.
        box_convention: for pickles, see `Mmdet3dInfos.open`.

    Raises:
        DataError: no such file, or neither kind; a pickle that wants more than containers and numpy.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(_absent(path))
    with path.open("rb") as file:
        is_json = file.read(1) in (b"{", b"")  # no pickle starts with a brace
    return Infos.open(path) if is_json else Mmdet3dInfos.open(path, box_convention)


def _absent(path: Path) -> str:
    """What to do about a file that is not there: one cause is a wrong folder, another a wrong split."""
    if not path.parent.is_dir():
        return f"{path} does not exist, nor does its folder; correct the dataroot, or put nuScenes there."
    others = ", ".join(sorted(other.name for other in path.parent.glob("infos_*.jsonl")))
    return f"{path} does not exist; make it with `aqr prepare`" + (f", or take one of {others}." if others else ".")


def _read_line(path: Path, offsets: np.ndarray, line: int, parse: Callable[[object], T]) -> T:
    start, end = offsets[line : line + 2] if len(offsets) > 1 else (0, 0)  # an empty file has no first line either
    with path.open("rb") as file:
        file.seek(start)
        text = file.read(end - start)
    try:
        return parse(json.loads(text))
    except (json.JSONDecodeError, UnicodeDecodeError, FieldError) as error:
        raise DataError(f"{path}:{line + 1}: {error}; {_REMEDY}.") from error


def line_offsets(path: Path) -> np.ndarray:
    """Byte offset behind each line feed, with the leading 0."""
    offsets, position = [np.zeros(1, np.int64)], 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            offsets.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + position + 1)
            position += len(chunk)
    return np.concatenate(offsets)
