"""`aqr dist-check`: who the processes of a launch are, whether they add up, and what their links carry."""

from __future__ import annotations

import argparse

from aqr_train.settings import PRECISIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds a rank may take for a call")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="train.precision of the run to come")


def run(arguments: argparse.Namespace) -> int:
    """Print the tables on the first process; exit code 1 where a rank is silent, differs or adds wrongly.

    Under a launcher: `accelerate launch --config_file FILE -m aqr_train.dist_check`.
    """
    from aqr_core.errors import ConfigError
    from aqr_train.dist_check.check import check_processes
    from aqr_train.dist_check.roll_call import Unanswered, tell

    if not arguments.timeout > 0:
        raise ConfigError(f"--timeout is {arguments.timeout:g}; give seconds above 0.")
    try:
        return check_processes(arguments.precision, arguments.timeout)
    except Unanswered as error:
        tell(error)
        return 1
