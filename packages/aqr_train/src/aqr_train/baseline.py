"""`make baseline`: how the shipped CMT weights (`cmt_tiny`) are made, from nothing, with fixed seeds.

The log and figures of the shipped run are kept in `docs/baseline.md`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.markup import escape

from aqr_core.checkpoint import CONFIG, META, WEIGHTS, read_weights, replacing_folder, write_weights
from aqr_train.checkpoints import find_checkpoint
from aqr_train.results import METRICS
from aqr_train.steps import StepRunner

SCENES = 400  # 320 for training, 80 held out
SEED = 1000  # not the demo's


def main(argv: Sequence[str] | None = None) -> int:
    """Generate the data, train, export, score the exported weights on held-out scenes."""
    parser = argparse.ArgumentParser(prog="python -m aqr_train.baseline", description="train the shipped CMT weights")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/baseline"), help="folder of data and training run")
    out = parser.parse_args(argv).out
    runner = StepRunner()
    data, trained, shipped = out / "data", out / "cmt_tiny", out / "weights" / "cmt_tiny"
    runner.synthetic_data(data, scenes=SCENES, seed=SEED)
    on_data = ["--cfg-options", f"dataroot={data}"]
    train = ["python", "-m", "aqr_train", "cmt_tiny", "--work-dir", trained, *on_data]
    runner.step("CMT from random weights", trained / "val", train)
    export_half(find_checkpoint(trained), shipped)
    runner.step(
        "The exported weights on the held-out scenes",
        shipped.parent / METRICS,
        ["aqr", "test", "cmt_tiny", shipped, "--out", shipped.parent, *on_data],
    )
    runner.console.print(f"Weights: {escape(str(shipped.resolve()))}", soft_wrap=True)
    return 0


def export_half(checkpoint: Path, folder: Path) -> None:
    """Copy a checkpoint folder without the trainer's state and with its numbers rounded to half precision.

    Half the size for a package that carries the weights; loading casts them to the dtype of the model.
    """
    tensors = {
        key: value.half() if value.is_floating_point() else value for key, value in read_weights(checkpoint).items()
    }
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise OverflowError(f"{key} does not fit into half precision; export {checkpoint} as it is instead.")
    with replacing_folder(folder) as unfinished:
        write_weights(tensors, unfinished / WEIGHTS)
        for name in (CONFIG, META):
            shutil.copyfile(checkpoint / name, unfinished / name)


if __name__ == "__main__":
    raise SystemExit(main())
