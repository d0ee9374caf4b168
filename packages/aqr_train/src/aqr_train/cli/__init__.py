"""The `aqr` command: one file per verb, imported when it is called.

Exit codes: 0 done, 1 a check failed (`doctor`, `convert`, `convert-config`, `verify-frozen`, `dist-check`), 2 an error
of the user's making, told in one sentence, 130 interrupted from the keyboard.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from aqr_core.errors import AqrError
from aqr_eval.nuscenes.errors import sentence

VERBS = {
    "train": "train a detector",
    "predict": "write the detections of a checkpoint on a split",
    "test": "predict and score",
    "robustness": "predict and score under a suite of sensor failures",
    "analyze-weights": "tell how the queries of an AQR model weigh LiDAR and cameras",
    "synth": "write a synthetic dataset in the nuScenes format",
    "prepare": "turn nuScenes tables into infos, and their objects into a database",
    "show": "draw what a model does",
    "benchmark": "measure the loader, the model, or what AQR costs",
    "estimate": "tell the memory of a training run and the bytes it sends, before it is made",
    "dist-check": "tell whether the processes of a launch are what was asked for, and what their links carry",
    "verify-frozen": "make a few training steps and tell what they changed",
    "convert": "write weights of any origin as a checkpoint folder",
    "convert-config": "write a CMT config of mmcv 1.x as one of ours",
    "convert-infos": "turn infos of mmdet3d into ours, and ours into theirs",
    "convert-database": "turn an object database of mmdet3d or CMT into ours, and ours into theirs",
    "doctor": "show versions, backends and data, and what would fail",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(prog="aqr", description="Robust LiDAR-camera 3D detection.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    called = next((word for word in arguments if word in VERBS), None)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if verb == called:
            module = importlib.import_module(f"aqr_train.cli.{verb.replace('-', '_')}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="as before the verb")
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (AqrError, OSError) as error:
        if parsed.debug:
            raise
        _say(f"error: {sentence(error)}")
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


class _Parser(argparse.ArgumentParser):
    """Of the command, its verbs and their kinds: what nobody knows is told by the innermost, with its usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as overloaded above
        """As `argparse`, which would leave what is unknown to the outermost parser."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown


def _say(text: str) -> None:
    Console(stderr=True).print(text, style="red", markup=False, highlight=False, soft_wrap=True)
