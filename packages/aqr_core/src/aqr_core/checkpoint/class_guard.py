"""Refuses weights whose class scores count other classes: every shape fits and every name is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from aqr_core.checkpoint.read import WeightsFile
from aqr_core.errors import CheckpointError

TASK_HEADS = "pts_bbox_head.task_heads."


def check_classes(file: WeightsFile, keys: Iterable[str], model: nn.Module) -> None:
    """Compare the classes that file and model name.

    Nothing is known where one of them is silent, or the file names another number than its scores have channels.

    Args:
        file: for what it says.
        keys: of the tensors about to be loaded.
        model: the detector.

    Raises:
        CheckpointError: they differ, be it in order alone.
    """
    own: tuple[str, ...] | None = getattr(getattr(model, "pts_bbox_head", None), "class_names", None)
    if file.classes is None or own is None or file.classes == own or len(file.classes) != len(own):
        return
    if any(key.startswith(TASK_HEADS) for key in keys):
        raise CheckpointError(
            f"{file.path} scores the classes {', '.join(file.classes)}, but the model {', '.join(own)}; put the "
            "class_names of model.pts_bbox_head.tasks and the classes of the datasets into the file's order."
        )
