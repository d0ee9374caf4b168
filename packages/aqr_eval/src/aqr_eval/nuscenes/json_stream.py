"""Reading a JSON file value by value, so that a 2 GB file costs the memory of one value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from aqr_eval.nuscenes.errors import AqrError

_CHUNK_CHARS = 1 << 20
_LONGEST_VALUE_CHARS = 1 << 22  # neither a syntax error nor a hostile file may fill the memory
_LONGEST_ENDING_CHARS = 64  # what of an ending may lie before the end of a chunk
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonStream:
    """A cursor over one JSON document; the caller says where objects and arrays are entered and left.

    Args:
        path: the file.
        error: class of the errors raised for text that breaks off or is not JSON.
    """

    def __init__(self, path: Path, error: type[AqrError]) -> None:
        self._path = path
        self._error = error
        self.inside = ""  # what the caller is reading, for messages, e.g. "sample 'x'"
        self._decode = json.JSONDecoder().raw_decode
        self._file = path.open(encoding="utf-8")
        self._buffer = ""
        self._passed = 0  # characters before the buffer
        self._position = 0

    def __enter__(self) -> JsonStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def peek(self) -> str:
        """The next character that is not white space, "" at the end of the file."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            self._position = match.end() if match else self._position
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._refill():
                return ""

    def take(self, expected: str) -> None:
        """Steps over one punctuation character."""
        found = self.peek()
        if found != expected:
            raise self._broken(f"{expected!r} belongs where {found!r} stands" if found else "the text breaks off")
        self._position += 1

    def value(self) -> Any:  # noqa: ANN401  # any JSON value
        """The next value, decoded whole."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._buffer, self._position)
            except (json.JSONDecodeError, RecursionError) as error:
                if self._is_too_long():
                    raise self._broken(f"a value of more than {_LONGEST_VALUE_CHARS} characters") from None
                if not self._refill():
                    raise self._broken(getattr(error, "msg", "brackets nested without end")) from None
                continue
            except ValueError as error:  # an integer of thousands of digits
                raise self._broken(str(error)) from None
            # A number near the end of the buffer may go on behind it: "1e+" decodes as 1, rest "e+".
            if len(self._buffer) - end < 3 and isinstance(value, (int, float)) and self._refill():
                continue
            self._position = end
            return value

    def text_through(self, ending: re.Pattern[str], opening: str) -> str:
        """The text of the next value, untaken, from its `opening` through the first match of `ending`; "" without."""
        if self.peek() != opening:
            return ""
        start = self._position
        while (match := ending.search(self._buffer, start)) is None:
            seen = len(self._buffer) - self._position
            if self._is_too_long() or not self._refill():
                return ""
            start = self._position + max(seen - _LONGEST_ENDING_CHARS, 0)
        return self._buffer[self._position : match.end()]

    def skip(self, count: int) -> None:
        """Steps over characters that `text_through` showed."""
        self._position += count

    def finish(self) -> None:
        """Requires that nothing but white space is left."""
        if found := self.peek():
            raise self._broken(f"{found!r} stands behind the end")

    def array(self) -> Iterator[Any]:
        """Enters an array and yields its values."""
        yield from (self.value() for _ in self._members("[", "]"))

    def object_keys(self) -> Iterator[str]:
        """Enters an object and yields its keys; the caller takes each key's value before asking for the next."""
        for _ in self._members("{", "}"):
            key = self.value()
            if not isinstance(key, str):
                raise self._broken(f"a name belongs where {key!r:.40} stands")
            self.take(":")
            yield key

    def _members(self, opening: str, closing: str) -> Iterator[None]:
        self.take(opening)
        if self.peek() != closing:
            yield
            while self.peek() != closing:
                self.take(",")
                yield
        self.take(closing)

    def _is_too_long(self) -> bool:
        return len(self._buffer) - self._position > _LONGEST_VALUE_CHARS

    def _refill(self) -> bool:
        """Drops what was read and appends a chunk; at the end of the file it returns False and moves nothing."""
        try:
            # As much again as is pending: a long value is then tried a few times, not once for every chunk.
            more = self._file.read(max(_CHUNK_CHARS, len(self._buffer) - self._position))
        except UnicodeDecodeError as error:
            raise self._broken(str(error)) from None
        if not more:
            return False
        self._passed += self._position
        self._buffer = self._buffer[self._position :] + more
        self._position = 0
        return True

    def _broken(self, reason: str) -> AqrError:
        inside = f", in {self.inside}" if self.inside else ""
        return self._error(
            f"{self._path} breaks off or is not valid JSON after {self._passed + self._position} characters{inside} "
            f"({reason}): "
            f"the copy is incomplete or was edited, so write or copy it again."
        )
