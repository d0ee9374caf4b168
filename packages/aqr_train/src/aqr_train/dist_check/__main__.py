"""`python -m aqr_train.dist_check`, for `accelerate launch -m` and `torchrun -m`: the same as `aqr dist-check`."""

from __future__ import annotations

import sys

from aqr_train.cli import main

if __name__ == "__main__":
    sys.exit(main(["dist-check", *sys.argv[1:]]))
