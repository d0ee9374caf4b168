"""`python -m aqr_train.gpu_check`: run what needs a CUDA device and write docs/benchmarks/gpu.md.

Exit codes: 0 no check failed, 1 one did, 2 there is no CUDA device or an argument is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console

from aqr_core.checkpoint import write_text
from aqr_core.errors import AqrError, ConfigError
from aqr_core.registry import suggest
from aqr_train.gpu_check.check import FAILED, Check, Row, run_checks
from aqr_train.gpu_check.checks import CHECKS
from aqr_train.gpu_check.page import machine, page, results
from aqr_train.gpu_check.workshop import Workshop


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m aqr_train.gpu_check", description="checks that need a CUDA device")
    parser.add_argument("--out", type=Path, help="Markdown page to write; left alone where there is no CUDA device")
    parser.add_argument("--list", action="store_true", help="list the checks and run none; --out says 'not yet run'")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="checks to run, by name")
    parser.add_argument("--work", type=Path, help="folder that keeps data, weights and runs; a temporary one without")
    arguments = parser.parse_args(argv)
    try:
        return _run(arguments)
    except (AqrError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    checks = _chosen(arguments.only)
    console = Console(soft_wrap=True)
    if arguments.list:
        _write(arguments.out, page([Row(check) for check in checks]), console)
        for check in checks:
            console.print(f"{check.name}: {check.target}", highlight=False, markup=False)
        return 0
    if not torch.cuda.is_available():
        raise ConfigError(
            "torch finds no CUDA device here, so nothing was checked and no page written; run it on a machine with one."
        )
    rows = []
    device = torch.device("cuda")
    facts = machine(device)  # now: the repository may move on while this runs
    with TemporaryDirectory() as temporary:
        workshop = Workshop(arguments.work or Path(temporary), device)
        for row in run_checks(checks, workshop):
            rows.append(row)
            console.print(f"{row.result}: {row.check.name}: {row.figure}", highlight=False, markup=False)
            # After each check: what has been found is kept if the machine is taken away.
            _write(arguments.out, page(rows, facts))
    console.print(results(rows).rich())
    return 1 if any(row.result == FAILED for row in rows) else 0


def _chosen(names: Sequence[str] | None) -> list[Check]:
    known = {check.name: check for check in CHECKS}
    for name in names or ():
        if name not in known:
            raise ConfigError(f"--only names '{name}', which is no check.{suggest(name, list(known))}")
    return [check for check in CHECKS if names is None or check.name in names]


def _write(path: Path | None, text: str, console: Console | None = None) -> None:
    if path is None:
        return
    write_text(path, text)
    if console is not None:
        console.print(f"{path}: written.", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
