"""Writes an infos file from keyframes that are there already; `build_infos` makes them from the tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aqr_core.checkpoint.atomic import replacing_file
from aqr_core.infos.schema import Info, InfosHeader, header_to_record, info_to_record, record_line


def write_infos(path: Path, header: InfosHeader, infos: Iterable[Info]) -> None:
    """Write a file of ours, which appears when it is complete.

    Args:
        path: the file; one that is there is replaced.
        header: its first line.
        infos: keyframes, taken one at a time.
    """
    with replacing_file(path) as unfinished, unfinished.open("wb") as file:
        file.write(record_line(header_to_record(header)))
        for info in infos:
            file.write(record_line(info_to_record(info)))
