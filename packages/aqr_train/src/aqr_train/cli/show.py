"""`aqr show`: pictures of a model at work and of its training, one module of `aqr_train.pictures` per kind."""

from __future__ import annotations

import argparse

from aqr_train.cli.kinds import add_kinds, run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_kinds(parser, "aqr_train.pictures", ("weights", "run"))
