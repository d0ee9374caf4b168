"""`python -m aqr_train CONFIG --work-dir DIR` trains, `python -m aqr_train VERB ...` is `aqr VERB ...`.

Both also under `accelerate launch -m` and `torchrun -m`, which start modules and not commands.
"""

from __future__ import annotations

import sys

from aqr_train.cli import VERBS, main

if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(words if words and words[0] in VERBS else ["train", *words]))
