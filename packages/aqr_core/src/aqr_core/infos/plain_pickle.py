"""Writes pickles that hold plain containers, numbers and numpy arrays, a record at a time.

`pickle.dump` needs the whole object in memory: gigabytes of dicts for nuScenes. But a pickle is a program whose steps
can be written as they come: make a list, make a record, append it, and so on. The counterpart of
`aqr_core.infos.unpickle`, and readable by the plain `pickle.load` of any Python 3 with numpy 1 or 2.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

# Protocol 4 counts what it remembers through the whole file; up to 3 every record can count from zero.
_PROTOCOL = 3


def write_plain_pickle(file: BinaryIO, content: Mapping[str, object]) -> None:
    """Write a dict.

    Args:
        file: open for writing.
        content: its entries: containers, Python's own numbers and strings, numpy arrays. An iterator becomes a list, of
            which one item at a time is in memory.
    """
    file.write(pickle.PROTO + bytes([_PROTOCOL]) + pickle.EMPTY_DICT)
    for key, value in content.items():
        file.write(_steps(key))
        if isinstance(value, Iterator):
            file.write(pickle.EMPTY_LIST)
            for item in value:
                file.write(_steps(item) + pickle.APPEND)
        else:
            file.write(_steps(value))
        file.write(pickle.SETITEM)
    file.write(pickle.STOP)


def _steps(value: object) -> bytes:
    """What leaves the value on the stack: a whole pickle without its head, the protocol, and its end."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.dispatch_table = copyreg.dispatch_table.copy()
    pickler.dispatch_table[np.ndarray] = _reduce_array
    pickler.dump(value)
    return buffer.getvalue()[2:-1]


def _reduce_array(array: np.ndarray) -> tuple[Any, ...]:
    """An empty array, then its content: numpy's own way names a module that numpy 1 does not have."""
    return np.ndarray, ((0,), "b"), array.__reduce__()[2]
