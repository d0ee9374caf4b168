"""Verbs that take a kind, each kind a module with `SUMMARY`, `add_arguments` and `run`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence


def add_kinds(parser: argparse.ArgumentParser, package: str, names: Sequence[str]) -> None:
    """Arguments of the verb: the kind, a module of `package`, then those of the kind."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    for name in names:
        module = importlib.import_module(f"{package}.{name}")
        summary: str = module.SUMMARY
        kind = kinds.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(kind)
        kind.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="as before the verb")
        kind.set_defaults(run_kind=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the kind that was named."""
    return int(arguments.run_kind(arguments))
