"""Where checkpoints are: in a work dir, by path, or shipped with the package; and the trainer's state in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aqr_core.checkpoint import WEIGHTS, read_torch_file
from aqr_core.errors import CheckpointError
from aqr_core.registry import suggest

SHIPPED = Path(__file__).parent / "weights"
FOLDER, LATEST = "checkpoints", "latest"
STATE = Path("trainer") / "state.pt"
# Of `Trainer.state_dict`.
_STATE_KEYS = ("position", "world_size", "samples_per_step", "engine", "optimizer", "scaler", "random", "callbacks")


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
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    folder = pointer.parent / name
    if not name or not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{pointer} names '{name}', which is no complete checkpoint; write another name into it.")
    return folder


def read_trainer_state(folder: Path) -> dict[str, Any]:
    """What `callbacks.checkpointer` stored beside the weights.

    Raises:
        CheckpointError: weights only (published or shipped), or a damaged file.
    """
    file = folder / STATE
    if not file.is_file():
        raise CheckpointError(f"{folder} holds weights but no {STATE}; start from it with load_from, not --resume.")
    state = read_torch_file(file)
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds no trainer state; resume from an older checkpoint of the same run.")
    lacking = [key for key in _STATE_KEYS if key not in state]
    if lacking:
        raise CheckpointError(f"{file} lacks {', '.join(lacking)}; resume from an older checkpoint of the same run.")
    return state
