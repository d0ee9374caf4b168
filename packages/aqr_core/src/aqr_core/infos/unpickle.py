"""Loads pickles that hold plain containers, numbers and numpy arrays, and nothing else.

A pickle is a program: `pickle.load` runs whatever its author wrote into it. This unpickler knows the
handful of globals that numpy's own pickles name (under numpy 1 and 2 module paths) and refuses the rest.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from aqr_core.errors import DataError


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes; any other codec has no place in such a file."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode_latin1,
}
for _core in ("numpy.core", "numpy._core"):
    # The functions are taken from numpy's own reductions, so that no private module is imported.
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = np.zeros(0).__reduce__()[0]
    _ALLOWED[f"{_core}.multiarray", "scalar"] = np.float64(0).__reduce__()[0]
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = np.zeros(1).__reduce_ex__(5)[0]

# A damaged stream of opcodes can fail in any of these ways.
_DAMAGE = (pickle.UnpicklingError, EOFError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise DataError(
                f"{self._path} wants the Python object '{module}.{name}', and only plain containers and numpy "
                "arrays are read from pickles; do not open this file, or convert it where it was made."
            )
        return _ALLOWED[module, name]


def load_plain_pickle(path: str | Path) -> object:
    """The object in a pickle of lists, dicts, numbers, strings and numpy arrays.

    Raises:
        DataError: the file names any other global, or is no complete pickle.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, path).load()
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path} is no complete pickle ({error}); fetch or write it again.") from error
