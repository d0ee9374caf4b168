"""Row-by-row reading of nuScenes tables.

A table is a JSON array of objects. `json.load` on the largest ones needs several gigabytes, of which a
detector uses a tenth; here each row is decoded, handed on and forgotten.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.json_stream import JsonStream


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
    optional = tuple((defaults or {}).items())
    with JsonStream(folder / f"{table}.json", DataError) as stream:
        for number, row in enumerate(stream.array()):
            try:
                for field, default in optional:
                    row.setdefault(field, default)
                values = pick(row)
            except KeyError as error:
                raise DataError(
                    f"{table}.json: row {number} (token {row.get('token')!r}) has no field {error}; "
                    f"the table was cut or edited, so restore it from the nuScenes archive."
                ) from None
            except (AttributeError, TypeError):
                raise DataError(
                    f"{table}.json: row {number} is {row!r:.40} where an object belongs; "
                    f"restore the table from the nuScenes archive."
                ) from None
            yield values


def append_numbers(
    column: array[int] | array[float], values: Sequence[float], count: int, table: str, token: str, field: str
) -> None:
    """Appends a row's vector of `count` numbers to a flat column, or says what is wrong with it."""
    try:
        if len(values) == count:
            column.extend(values)  # type: ignore[arg-type]  # an integer column refuses other numbers itself
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
