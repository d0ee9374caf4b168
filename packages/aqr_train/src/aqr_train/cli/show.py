"""`aqr show`: pictures of a model at work; what is drawn lives in `aqr_train.pictures`, one module per kind."""

from __future__ import annotations

import argparse
import importlib

KINDS = ("weights",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: the kind, then those of the kind."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    for name in KINDS:
        module = importlib.import_module(f"aqr_train.pictures.{name}")
        summary: str = module.SUMMARY
        kind = kinds.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(kind)
        kind.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="as before the verb")
        kind.set_defaults(run_kind=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run one kind."""
    return int(arguments.run_kind(arguments))
