"""Columns of numbers in one file, in the safetensors format: a JSON header, then the columns as they lie in memory.

Any language reads the format (https://huggingface.co/docs/safetensors). The file is mapped, not read: a column costs
memory when it is taken out, and a header that promises more than the file holds is refused before that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.whole_files import replacing

VERSION = 1
_ALIGNMENT = 8
_DTYPES = {"<f8": "F64", "<i8": "I64", "<i4": "I32", "|i1": "I8"}
Shape = tuple[int | None, ...]


def is_columns_file(path: Path) -> bool:
    """Whether a file is of the format: eight bytes of length, then a brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def write_columns(path: Path, kind: str, columns: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Writes columns, and facts as JSON in the metadata of the header.

    Args:
        path: the file; an interrupted run leaves no partial one.
        kind: what it holds, such as "submission".
        columns: name -> array.
        facts: name -> any JSON value.
    """
    words = {"format": f"aqr-{kind}", "version": str(VERSION)}
    words |= {name: json.dumps(value) for name, value in facts.items()}
    # The widest first, so that every column is aligned. The library's own writer orders the words at random and lets
    # the owner alone read the file; equal content shall be equal bytes, and others shall read it.
    ordered = sorted(columns.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": words}
    end = 0
    for name, column in ordered:
        start, end = end, end + column.nbytes
        header[name] = {"dtype": _DTYPES[column.dtype.str], "shape": column.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // _ALIGNMENT) * _ALIGNMENT)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, column in ordered:
            file.write(np.ascontiguousarray(column).data)


class ColumnsFile:
    """An open file of columns.

    Args:
        path: the file.
        kind: what it must hold.
        error: class of the errors raised.

    Raises:
        AqrError: of the class given: no such file, not of the format or kind, of another version, or cut short.
    """

    def __init__(self, path: Path, kind: str, error: type[AqrError]) -> None:
        self.path = path
        self._error = error
        self._file: Any  # the library types nothing
        try:
            self._file = safe_open(str(path), framework="numpy")
        except SafetensorError as fault:
            raise error(
                f"{path} cannot be read as columns ({fault}): the copy is incomplete, so write it again."
            ) from None
        self._facts: dict[str, str] = self._file.metadata() or {}
        if self._facts.get("format") != f"aqr-{kind}":
            raise error(f"{path} holds {self._facts.get('format')!r}, not 'aqr-{kind}': give a file of that kind.")
        if self._facts.get("version") != str(VERSION):
            raise error(
                f"{path} is of version {self._facts.get('version')!r}, this release reads {VERSION}: write it again."
            )

    def column(self, name: str, dtype: type, shape: Shape) -> NDArray[Any]:
        """One column.

        Args:
            name: as written.
            dtype: what it must hold; integers of other widths are converted.
            shape: what it must have; None for any length.
        """
        if not self.has(name):
            raise self._error(f"{self.path} lacks the column {name!r}: write the file again.")
        column = self._file.get_tensor(name)
        fits = len(column.shape) == len(shape) and all(
            want in (None, got) for want, got in zip(shape, column.shape, strict=True)
        )
        if not fits or column.dtype.kind != np.dtype(dtype).kind:
            wanted = " x ".join("n" if length is None else str(length) for length in shape)
            raise self._error(
                f"{self.path}: column {name!r} is {column.dtype} of shape {column.shape}, not {np.dtype(dtype)} of "
                f"{wanted}: write the file again."
            )
        converted: NDArray[Any] = column.astype(dtype, copy=False)
        return converted

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return bool(name in self._file.keys())  # noqa: SIM118  # no mapping

    def fact(self, name: str, kind: type) -> Any:  # noqa: ANN401  # any JSON value
        """A JSON value of the header, of the Python type given."""
        try:
            value = json.loads(self._facts[name])
        except (KeyError, ValueError):
            value = None
        if not isinstance(value, kind):
            raise self._error(f"{self.path} lacks {name!r} in its header: write the file again.")
        return value
