"""Arguments that several verbs share."""

from __future__ import annotations

import argparse

from aqr_train.blanking import SENSORS
from aqr_train.precision import DTYPES

_CHECKPOINT = "checkpoint folder, work dir, official .pth, or name of shipped weights"
_CONFIG = "config path or name; by default the checkpoint's own"


def add_model(parser: argparse.ArgumentParser) -> None:
    """What is run, by position."""
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=_CONFIG)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=_CHECKPOINT)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The same as options, for verbs that look at a checkpoint."""
    parser.add_argument("--config", help=_CONFIG)
    parser.add_argument("--checkpoint", required=True, help=_CHECKPOINT)


def add_split(parser: argparse.ArgumentParser) -> None:
    """What it runs over, and changes of the config."""
    parser.add_argument("--split", help="another split than the config's: reads infos_<split>.jsonl")
    parser.add_argument("--dataroot", help="replaces the config's")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def add_loader(parser: argparse.ArgumentParser) -> None:
    """How the keyframes come."""
    parser.add_argument("--batch-size", type=int, default=1, help="keyframes per process at a time; by default 1")
    parser.add_argument("--num-workers", type=int, help="loader processes; by default the config's")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """How it computes."""
    parser.add_argument("--precision", choices=tuple(DTYPES), help="of the model; by default the config's")


def add_without(parser: argparse.ArgumentParser) -> None:
    """A sensor that fails."""
    parser.add_argument("--without", choices=SENSORS, help="blank this sensor, as if it had failed")
