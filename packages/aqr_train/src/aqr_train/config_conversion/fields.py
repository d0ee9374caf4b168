"""One dict of the source; whoever takes a field out of it says at the same time what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aqr_core.errors import ConfigError
from aqr_train.config_conversion.ledger import Ledger, Outcome, Path


class Fields:
    """A dict with its place in the source. Every method passes over a field that is absent.

    Args:
        ledger: where outcomes are written.
        node: the dict.
        path: of the dict.

    Raises:
        ConfigError: `node` is no dict.
    """

    def __init__(self, ledger: Ledger, node: Any, path: Path = ()) -> None:  # noqa: ANN401 - what the source holds
        if not isinstance(node, Mapping):
            raise ConfigError(f"'{dotted(path)}' of the source is {node!r}, where a dict belongs; correct the source.")
        self.ledger, self.node, self.path = ledger, node, path

    def __contains__(self, name: str) -> bool:
        return name in self.node

    def __iter__(self) -> Iterator[str]:
        return iter(self.node)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """The value, without accounting for it."""
        return self.node.get(name, default)

    def keep(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """The value, which goes to the same place."""
        return self._record(name, Outcome.KEPT, default=default)

    def rename(self, name: str, target: str, default: Any = None) -> Any:  # noqa: ANN401
        """The value, which goes to `target` unchanged."""
        return self._record(name, Outcome.RENAMED, target=target, default=default)

    def derive(self, name: str, target: str, why: str, default: Any = None) -> Any:  # noqa: ANN401
        """The value, from which `target` is made."""
        return self._record(name, Outcome.DERIVED, target=target, why=why, default=default)

    def drop(self, name: str, why: str) -> None:
        """Leave it out: it changes no result, or says what holds here anyway."""
        self._record(name, Outcome.DROPPED, why=why)

    def differ(self, name: str, why: str) -> None:
        """Leave it out although it changes results."""
        self._record(name, Outcome.DIFFERENCE, why=why)

    def fixed(self, name: str, *values: Any, why: str) -> None:  # noqa: ANN401
        """Drop it where it is one of `values`, what we always do; anything else is a difference."""
        if name in self:
            if any(same(self.node[name], value) for value in values):
                self.drop(name, why)
            else:
                self.differ(name, f"{why}, and nothing else")

    def add(self, name: str, value: Any, why: str) -> Any:  # noqa: ANN401
        """Write down a value that the source does not have."""
        self.ledger.record((*self.path, name), Outcome.ADDED, value, why=why)
        return value

    def child(self, name: str) -> Fields:
        """The dict of that name; an empty one where it is absent or None."""
        node = self.node.get(name)
        if node is None or node == {}:
            self.drop(name, "not set")
            node = {}
        return Fields(self.ledger, node, (*self.path, name))

    def children(self, name: str) -> list[Fields]:
        """The dicts in the list of that name; one dict counts as a list of one."""
        node = self.node.get(name) or []
        if not node:
            self.drop(name, "empty")
        if isinstance(node, Mapping):
            return [self.child(name)]
        if not isinstance(node, list | tuple):
            where = dotted((*self.path, name))
            raise ConfigError(
                f"'{where}' of the source is {node!r}, where a list of dicts belongs; correct the source."
            )
        return [Fields(self.ledger, item, (*self.path, name, index)) for index, item in enumerate(node)]

    def _record(self, name: str, outcome: Outcome, *, target: str = "", why: str = "", default: Any = None) -> Any:  # noqa: ANN401
        if name not in self:
            return default
        self.ledger.record((*self.path, name), outcome, self.node[name], target=target, why=why)
        return self.node[name]


def same(a: Any, b: Any) -> bool:  # noqa: ANN401
    """Equality that does not tell lists and tuples apart."""
    return bool(_plain(a) == _plain(b))


def dotted(path: Path) -> str:
    """A path as text."""
    return ".".join(map(str, path))


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple | range) else value
