"""Where checkpoints are: in a work dir, by path, or shipped with the package; and the trainer's state in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from aqr_core.checkpoint import WEIGHTS
from aqr_core.errors import CheckpointError
from aqr_core.registry import suggest

SHIPPED = Path(__file__).parent / "weights"
FOLDER, LATEST = "checkpoints", "latest"
STATE = Path("trainer") / "state.pt"


def find_checkpoint(where: str | Path) -> Path:
    """Turn what a user wrote into a checkpoint folder or weights file.

    Args:
        where: a checkpoint folder, a weights file, a work dir (its newest checkpoint), or the name of
            shipped weights.

    Raises:
        CheckpointError: nothing of that kind is there.
    """
    path = Path(where)
    if path.is_file() or (path / WEIGHTS).is_file():
        return path
    newest = latest_checkpoint(path)
    if newest is not None:
        return newest
    shipped = sorted(folder.name for folder in SHIPPED.glob("*") if (folder / WEIGHTS).is_file())
    if str(where) in shipped:
        return SHIPPED / str(where)
    if path.is_dir():
        raise CheckpointError(f"{path} holds neither {WEIGHTS} nor {FOLDER}/{LATEST}; train first or choose another.")
    hint = suggest(str(where), shipped) if shipped else " No weights are shipped with this installation."
    raise CheckpointError(f"Checkpoint '{where}' is neither a path nor shipped weights.{hint}")


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The folder that `checkpoints/latest` names, or None where the run has not saved yet."""
    pointer = work_dir / FOLDER / LATEST
    if not pointer.is_file():
        return None
    folder = pointer.parent / pointer.read_text(encoding="utf-8").strip()
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{pointer} names {folder.name}, which is not complete; write another name into it.")
    return folder


def read_trainer_state(folder: Path) -> dict[str, Any]:
    """What `callbacks.checkpointer` stored beside the weights.

    Raises:
        CheckpointError: weights only (published or shipped), or a damaged file.
    """
    file = folder / STATE
    if not file.is_file():
        raise CheckpointError(f"{folder} holds weights but no {STATE}; start from it with load_from, not --resume.")
    try:
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{file} is damaged; resume from an older checkpoint of the same run.") from error
