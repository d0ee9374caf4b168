"""Where checkpoints are: in a work dir, by path, or shipped with the package; and the trainer's state in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from aqr_core.checkpoint import (
    WEIGHTS,
    find_damage,
    put_weights,
    read_torch_file,
    read_weights,
    remove_folder,
    write_text,
)
from aqr_core.errors import CheckpointError
from aqr_core.registry import suggest

SHIPPED = Path(__file__).parent / "weights"
FOLDER, LATEST, BEST = "checkpoints", "latest", "best"
STATE = Path("trainer") / "state.pt"
TRAINED = Path("trainer") / "weights.safetensors"  # of a run that publishes their average
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
    """The folder that `checkpoints/latest` names, or None where the run has not saved yet.

    Raises:
        CheckpointError: the pointer names nothing that is there.
    """
    pointer = work_dir / FOLDER / LATEST
    if not pointer.is_file():
        return None
    name, _ = read_pointer(pointer)
    folder = pointer.parent / name
    if not name or not (folder / WEIGHTS).is_file():
        reason = f"{pointer} names '{name}', which is no complete checkpoint"
        raise CheckpointError(f"{reason}; {_advise(pointer.parent, folder)}.")
    return folder


def read_pointer(pointer: Path) -> tuple[str, str]:
    """The folder's name in its first line, and the second line; '' for what is not there."""
    text = pointer.read_text(encoding="utf-8", errors="replace") if pointer.is_file() else ""
    name, remark, *_ = [*(line.strip() for line in text.splitlines()), "", ""]
    return name, remark


def write_pointer(pointer: Path, folder: Path, remark: str = "") -> None:
    """Name a checkpoint folder that lies beside the pointer."""
    write_text(pointer, f"{folder.name}\n" + (f"{remark}\n" if remark else ""))


def step_folder(work_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return work_dir / FOLDER / f"step_{step:07d}"


def step_of(folder: Path | str) -> int:
    """The step in the name of a checkpoint folder; -1 where it has none."""
    number = Path(folder).name.removeprefix("step_")
    return int(number) if number.isdecimal() else -1


def remove_old(work_dir: Path, step: int, keep: int) -> None:
    """Leave the `keep` newest checkpoints up to this step (0: all) and the best one.

    Those of later steps are of a run that was taken back; they stay until this run comes to them.
    """
    folders = sorted((work_dir / FOLDER).glob("step_*"), key=step_of)
    best, _ = read_pointer(work_dir / FOLDER / BEST)
    for folder in [folder for folder in folders if step_of(folder) <= step][:-keep] if keep else []:
        if folder.name != best:
            remove_folder(folder)


def check_undamaged(folder: Path) -> None:
    """Refuse to resume from a checkpoint whose files are not those that were written.

    Raises:
        CheckpointError: names the file, and the newest checkpoint beside it that is whole.
    """
    damage = find_damage(folder)
    if damage is not None:
        raise CheckpointError(f"{damage}; {_advise(folder.parent, folder)}.")


def _advise(folder: Path, bad: Path) -> str:
    """What to do in the place of resuming from the checkpoint `bad` of this folder."""
    for other in sorted(folder.glob("step_*"), key=step_of, reverse=True):
        if other != bad and (other / STATE).is_file() and find_damage(other) is None:
            return f"the newest good checkpoint is {other.name}, continue from it with --resume {other}"
    return "no other checkpoint of this run is whole, start again in another --work-dir"


def load_trained_weights(model: nn.Module, folder: Path) -> bool:
    """Put the weights that training goes on with in the place of their average; False where none was published."""
    if not (folder / TRAINED).is_file():
        return False
    put_weights(model, read_weights(folder / TRAINED))
    return True


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
