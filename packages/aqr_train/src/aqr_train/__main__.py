"""`python -m aqr_train CONFIG --work-dir DIR`, also under `accelerate launch -m` and `torchrun -m`."""

from __future__ import annotations

import sys

from aqr_train.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
