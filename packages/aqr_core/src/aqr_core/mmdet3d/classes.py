"""The class scores of the head and the labels of the dataset must count the same names in the same order.

They do not by default: mmdet3d's `NuScenesDataset` has 'trailer' third, CMT 'construction_vehicle'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.logging import MessageHub
from torch import nn

from aqr_core.errors import ConfigError


def check_classes(head: nn.Module, dataset_meta: Mapping[str, Any] | None) -> None:
    """Compare the names of the head's `tasks` with the dataset's `metainfo`; a side that names none passes.

    Raises:
        ConfigError: they differ.
    """
    own, theirs = getattr(head, "class_names", None), (dataset_meta or {}).get("classes")
    if own is None or theirs is None or tuple(own) == tuple(theirs):
        return
    raise ConfigError(
        f"The dataset counts the classes {', '.join(theirs)}, the head {', '.join(own)}: labels would be mixed up; set "
        "metainfo=dict(classes=[...]) of the dataset to the names of the head's tasks, in their order."
    )


def check_classes_of_run(head: nn.Module) -> None:
    """The same for the training dataset of the runner that is at work, if one is."""
    check_classes(head, MessageHub.get_current_instance().get_info("dataset_meta", None))
