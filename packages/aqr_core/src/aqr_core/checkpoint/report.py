"""What loading weights did and did not do."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_SHOWN = 5  # keys named in an error before "and n more"
_LISTED = 40  # the log names the keys of a group up to this size


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did; keys are state-dict keys of the model, `unexpected` and `unused` ones of the file.

    Attributes:
        loaded: they now hold the file's values.
        converted: conversion -> number of tensors.
        missing: keys that the file lacks for no known reason; they keep their initial values.
        unexpected: keys of the file that the model lacks for no known reason.
        absent: reason -> keys for which such a file holds no value, or none of use; they keep their initial values.
        unused: reason -> keys of the file that such a model does not need.
        notes: what was taken for granted.
    """

    loaded: tuple[str, ...]
    converted: Mapping[str, int]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    absent: Mapping[str, tuple[str, ...]]
    unused: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    @property
    def explained(self) -> dict[str, tuple[str, ...]]:
        """Reason -> keys, of file and model alike."""
        return {**self.unused, **self.absent}

    def unexplained(self) -> str:
        """'missing: a, b; unexpected: c (did you mean 'b'?)', or '' where everything is explained."""
        found = []
        if self.missing:
            found.append(f"missing: {name_first(self.missing)}")
        if self.unexpected:
            near = difflib.get_close_matches(self.unexpected[0], self.missing, n=1, cutoff=0.8)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            found.append(f"unexpected: {name_first(self.unexpected)}{hint}")
        return "; ".join(found)

    def log(self, path: str | Path) -> None:
        """Write the lines to the log, as warnings those of `remarks`, and the keys of all small groups."""
        remarks = self.remarks()
        for line in self.lines():
            logger.log(logging.WARNING if line in remarks else logging.INFO, "%s: %s", path, line)
        for name, groups in (("not used", self.unused), ("initial", self.absent)):
            for keys in groups.values():
                if len(keys) <= _LISTED:
                    logger.info("%s: %s: %s", path, name, ", ".join(keys))

    def remarks(self) -> list[str]:
        """The lines that deserve a warning: what was taken for granted, not used, or not given."""
        unused = [f"not used {len(keys)}: {reason} [{_by_module(keys)}]" for reason, keys in self.unused.items()]
        absent = [f"initial {len(keys)}: {reason} [{_by_module(keys)}]" for reason, keys in self.absent.items()]
        return [*self.notes, *unused, *absent]

    def lines(self) -> list[str]:
        """A few lines for the log: counts, and the modules concerned."""
        lines = [f"loaded {len(self.loaded)} tensors"]
        lines += [f"converted {count}: {name}" for name, count in self.converted.items()]
        lines += self.remarks()
        for name in ("missing", "unexpected"):
            keys: tuple[str, ...] = getattr(self, name)
            if keys:
                lines.append(f"{name} {len(keys)}: {_by_module(keys)}")
        return lines


def name_first(keys: Sequence[str]) -> str:
    """'a, b, c, d, e and 7 more'."""
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _by_module(keys: tuple[str, ...]) -> str:
    """'pts_bbox_head.task_heads (12), img_neck (4)': keys counted by their first two name parts."""
    counts: dict[str, int] = {}
    for key in keys:
        module = ".".join(key.split(".")[:-1][:2]) or key
        counts[module] = counts.get(module, 0) + 1
    return ", ".join(f"{module} ({count})" for module, count in counts.items())
