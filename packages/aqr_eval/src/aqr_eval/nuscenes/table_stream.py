"""Row-by-row reading of nuScenes tables, so that a 2 GB JSON array costs the memory of one row.

A table is a JSON array of objects. `json.load` on the largest ones needs several gigabytes, of which a
detector uses a tenth; here each row is decoded, handed on and forgotten.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from aqr_eval.nuscenes.errors import DataError

_CHUNK_CHARS = 1 << 20
_LONGEST_ROW_CHARS = 1 << 24  # a syntax error must not make us buffer the rest of the file
_BETWEEN_ROWS = re.compile(r"[\s,]*")


def stream_table(
    folder: Path, table: str, fields: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Yields the named fields of every row of `<folder>/<table>.json`, in file order.

    Args:
        folder: The version folder, e.g. `data/v1.0-mini`.
        table: Table name without ending.
        fields: Two or more field names.
        defaults: Values of fields that a row may lack.

    Raises:
        DataError: the file is not a complete JSON array of objects, or a row lacks a field.
    """
    pick = itemgetter(*fields)
    for number, row in enumerate(_stream_objects(folder / f"{table}.json")):
        for field, default in (defaults or {}).items():
            row.setdefault(field, default)
        try:
            values = pick(row)
        except KeyError as error:
            raise DataError(
                f"{table}.json: row {number} (token {row.get('token')!r}) has no field {error}; "
                f"the table was cut or edited, so restore it from the nuScenes archive."
            ) from None
        yield values


def append_numbers(
    column: array[float], values: Sequence[float], count: int, table: str, token: str, field: str
) -> None:
    """Appends a row's vector of `count` numbers to a flat column, or says what is wrong with it."""
    try:
        if len(values) == count:
            column.extend(values)
            return
    except (TypeError, OverflowError):
        pass  # not a list, or not of numbers: the same sentence serves
    raise DataError(
        f"{table}.json: token {token!r} has {field} = {values!r:.80} where {count} numbers belong; "
        f"repair the row or restore the table from the nuScenes archive."
    )


def dangling(table: str, token: str, field: str, target: object, target_table: str) -> DataError:
    """The error for a reference to a row that does not exist."""
    return DataError(
        f"{table}.json: token {token!r} has {field} = {target!r}, which is not in {target_table}.json; "
        f"the two tables are of different versions or one was cut, so restore both from the same archive."
    )


def _stream_objects(path: Path) -> Iterator[dict[str, Any]]:
    decode = json.JSONDecoder().raw_decode
    count = 0
    with path.open(encoding="utf-8") as file:
        buffer = file.read(_CHUNK_CHARS)
        position = len(buffer) - len(buffer.lstrip())
        if buffer[position : position + 1] != "[":
            raise DataError(f"{path} is not a JSON array: it starts with {buffer[:20]!r}, so restore the table.")
        position += 1
        while True:
            position = _BETWEEN_ROWS.match(buffer, position).end()  # type: ignore[union-attr]  # matches the empty string
            if buffer.startswith("]", position):
                return
            try:
                row, position = decode(buffer, position)
            except json.JSONDecodeError as error:
                more = file.read(_CHUNK_CHARS) if len(buffer) - position < _LONGEST_ROW_CHARS else ""
                if not more:
                    raise DataError(
                        f"{path} breaks off or is not valid JSON after {count} rows ({error.msg}); "
                        f"the copy is incomplete, so copy or unpack it again."
                    ) from None
                buffer, position = buffer[position:] + more, 0
                continue
            if not isinstance(row, dict):
                raise DataError(f"{path}: row {count} is {row!r:.40} where an object belongs; restore the table.")
            count += 1
            yield row
