"""`python -m aqr_train.launchers [NAME]`: the path of a file, for `accelerate launch --config_file`; or all names."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from aqr_core.errors import ConfigError
from aqr_train.launchers import find_launcher, launchers


def main() -> int:
    """Print the path alone, so that a shell can put it into a command; without NAME one line per file."""
    parser = argparse.ArgumentParser(prog="python -m aqr_train.launchers", description="Where launcher files lie.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a file, without its ending")
    name = parser.parse_args().name
    if name is None:
        known = launchers()
        width = max(map(len, known))
        for key, path in known.items():
            comment = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
            sys.stdout.write(f"{key:<{width}}  {comment[2:]}\n")
        return 0
    try:
        sys.stdout.write(f"{find_launcher(name)}\n")
    except ConfigError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
