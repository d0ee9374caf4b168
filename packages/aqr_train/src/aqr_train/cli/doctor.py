"""`aqr doctor`: what is installed, what would run, what would fail and the remedy."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--dataroot", type=Path, help="dataset folder to look into")
    parser.add_argument("--config", help="path or name of a config: can its model be built here?")


def run(arguments: argparse.Namespace) -> int:
    """Print one row per check; exit code 1 if something would fail."""
    from aqr_train.diagnosis import diagnose

    # Folded, not cut: names are there to be copied.
    found, remedy = Column("found", overflow="fold"), Column("remedy", overflow="fold")
    table = Table("", "check", found, remedy, title=f"aqr doctor, Python {sys.version.split()[0]}")
    findings = diagnose(arguments.dataroot, arguments.config)
    for finding in findings:
        sign = "[green]ok[/]" if finding.ok else ("[red]fails[/]" if finding.fatal else "[yellow]note[/]")
        table.add_row(sign, finding.check, finding.found, finding.remedy)
    Console().print(table)
    return int(any(not finding.ok and finding.fatal for finding in findings))
