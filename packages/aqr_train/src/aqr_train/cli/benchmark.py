"""`aqr benchmark`: what is measured lives in `aqr_train.benchmarks`, one module per kind."""

from __future__ import annotations

import argparse

from aqr_train.cli.kinds import add_kinds, run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_kinds(parser, "aqr_train.benchmarks", ("aqr", "loader", "model", "scaling", "training"))
